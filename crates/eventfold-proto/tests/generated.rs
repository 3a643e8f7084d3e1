//! The generated code is what the definition says.

use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Generates the code and the definition's descriptors into a directory.
#[expect(clippy::disallowed_methods, reason = "code is generated into files")]
fn generate(into: &Path) {
    let mut set = protox::compile(["eventfold/v1/eventfold.proto"], [here("proto")]).expect("the definition is right");
    let descriptors = set.encode_to_vec();
    as_bytes(&mut set);
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .out_dir(into)
        .compile_fds(set)
        .expect("code can be made of it");
    std::fs::write(into.join("eventfold.v1.bin"), descriptors).expect("the directory can be written to");
}

/// What comes by the million is kept as shared bytes, which are the same on the wire: types and tags, of which no copy is made
/// then, and the events that are read, which are encoded and decoded where there is time for it. Whoever takes them checks that
/// they are what the definition says.
fn as_bytes(set: &mut FileDescriptorSet) {
    let fields_of = |message: &str| match message {
        "ProposedEvent" | "RecordedEvent" | "QueryItem" => &["type", "types", "tags"][..],
        "ReadResponse" | "ReadPageResponse" | "Events" => &["events"],
        _ => &[],
    };
    let mut messages: Vec<_> = set.file.iter_mut().flat_map(|file| &mut file.message_type).collect();
    while let Some(message) = messages.pop() {
        let wanted = fields_of(message.name());
        for field in message.field.iter_mut().filter(|field| wanted.contains(&field.name())) {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
        messages.extend(&mut message.nested_type);
    }
}

#[expect(clippy::disallowed_methods, reason = "what is compared are files")]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_code_that_is_checked_in_is_what_the_definition_says() {
    let directory = tempfile::tempdir().unwrap();
    generate(directory.path());
    for name in ["eventfold.v1.rs", "eventfold.v1.bin"] {
        let same = read(&directory.path().join(name)) == read(&here("src/generated").join(name));
        assert!(
            same,
            "{name} is not what the definition says; `cargo test -p eventfold-proto --test generated -- --ignored` writes it"
        );
    }
}

#[test]
#[ignore = "writes into the sources"]
fn write_the_generated_code() {
    generate(&here("src/generated"));
}
