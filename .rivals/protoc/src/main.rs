//! Stands in for `protoc` where another server's build asks for it, so that nothing has to be installed.
//!
//! It understands what `prost-build` says to `protoc`, and nothing else: the descriptors of some files, with all that they
//! import, into one file.

use std::path::PathBuf;

fn main() {
    let (mut files, mut includes, mut output) = (Vec::new(), Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--include_imports" | "--include_source_info" => {}
            "-o" => output = arguments.next().map(PathBuf::from),
            "-I" => includes.extend(arguments.next().map(PathBuf::from)),
            option if option.starts_with('-') => panic!("{option} is not understood here"),
            file => files.push(PathBuf::from(file)),
        }
    }
    let output = output.expect("-o says where the descriptors go");
    let mut compiler = protox::Compiler::new(includes).expect("-I names directories");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(output, compiler.encode_file_descriptor_set()).expect("the descriptors can be written");
}
