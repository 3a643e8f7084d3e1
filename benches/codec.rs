//! Benches of the codec.

use criterion::{Criterion, criterion_group, criterion_main};

fn checksum(c: &mut Criterion) {
    let block = vec![0xA5_u8; 4096];
    c.bench_function("crc32c/4096", |b| b.iter(|| eventfold_codec::crc32c(&block)));
}

criterion_group!(benches, checksum);
criterion_main!(benches);
