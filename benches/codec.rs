//! Benches of the codec: criterion's groups for what things cost, then the limits of `docs/PERFORMANCE.md`.
//!
//! A limit compares two sides, and a machine's clock and neighbours change from one second to the next. So the sides
//! alternate in short batches of one run, and the median of the ratios of neighbouring batches counts.
//! `cargo bench -p eventfold-codec --bench codec -- ratios` runs the limits alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use eventfold_codec::{
    EventRef, ExtensionArea, Frame, FramePlace, ProposedAppend, ProposedEvent, SegmentKey, StreamSlot, ValidAppend,
    crc32c, encode_append,
};
use uuid::Uuid;

/// Types of 12 to 16 bytes. Their lengths differ, so that records start at every alignment, as they do in a store.
const TYPES: [&str; 5] = ["LimitChanged", "AccountOpened", "MoneyDeposited", "InterestAccrued", "TransferRejected"];

const PAYLOAD_LEN: usize = 256;
const OFFSET: u64 = 1 << 20;
/// Frames stand at multiples of 8, and the checksum's speed depends on where in a cache line its bytes start: a limit is
/// measured at each of these places in turn.
const ALIGNMENTS: [usize; 8] = [0, 8, 16, 24, 32, 40, 48, 56];

/// What the events of a bench have besides their type and payload.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    tags: usize,
    metadata_len: usize,
    stream_name: bool,
}

const PLAIN: Shape = Shape { name: "plain", tags: 0, metadata_len: 0, stream_name: false };
const TAGGED: Shape = Shape { name: "2 tags, metadata", tags: 2, metadata_len: 64, stream_name: false };
const NAMED: Shape = Shape { name: "stream's name", tags: 0, metadata_len: 0, stream_name: true };

/// An append to one stream, ready to be encoded, and its frame.
struct Sample {
    append: ValidAppend,
    slots: [StreamSlot; 1],
    key: SegmentKey,
    place: FramePlace,
    extensions: ExtensionArea,
    frame: Vec<u8>,
}

impl Sample {
    fn new(events: usize, shape: Shape) -> Self {
        let mut random = Random(0x5EED);
        let events = (0..events)
            .map(|index| {
                ProposedEvent::new(TYPES[(index + 2) % TYPES.len()], random.bytes(PAYLOAD_LEN))
                    .with_metadata(random.bytes(shape.metadata_len))
                    .with_tags((0..shape.tags).map(|tag| format!("tag-{tag}:{index:04}")))
            })
            .collect();
        let append = ProposedAppend::new()
            .events("account-7", events)
            .check(|| Uuid::from_u128(random.next().into()))
            .expect("the sample keeps every limit");
        let mut sample = Self {
            append,
            slots: [StreamSlot { first_version: 40, with_name: shape.stream_name }],
            key: SegmentKey::new(random.next()),
            place: FramePlace {
                offset: OFFSET,
                incarnation: 3,
                durable_through: OFFSET,
                first_position: 123_456,
                recorded_at: 1_700_000_000_000,
            },
            extensions: ExtensionArea::default(),
            frame: Vec::new(),
        };
        let mut frame = Vec::new();
        sample.encode(&mut frame);
        sample.frame = frame;
        sample
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (append, slots) = (black_box(&self.append), black_box(&self.slots));
        let header = encode_append(append, slots, &self.key, &self.place, &self.extensions, out);
        black_box(&header);
    }

    fn open<'a>(&self, bytes: &'a [u8]) -> Frame<'a> {
        Frame::open(hidden(&bytes), &self.key, OFFSET).expect("the sample is sound")
    }

    /// Opens the frame and decodes every event; what is decoded can't be optimised away.
    fn decode(&self, bytes: &[u8]) {
        for event in self.open(bytes).events() {
            touch(&event.expect("the sample is sound"));
        }
    }

    /// The same, and each event becomes its reader's own.
    fn decode_owned(&self, bytes: &Bytes) {
        for event in self.open(bytes).events() {
            black_box(event.expect("the sample is sound").to_shared(bytes));
        }
    }

    fn decode_one(&self, bytes: &[u8], index: u32) {
        touch(&self.open(bytes).event(index).expect("the sample is sound"));
    }

    fn events(&self) -> u32 {
        self.append.event_count()
    }

    /// Where the record table and each event's record stand in the frame.
    fn pieces(&self) -> (std::ops::Range<usize>, Vec<std::ops::Range<usize>>) {
        let frame = self.open(&self.frame);
        let table = frame.header().table_start()..frame.header().records_start();
        let ends: Vec<usize> = self.frame[table.clone()]
            .chunks_exact(8)
            .map(|entry| {
                let end = entry.first_chunk().expect("an entry has eight bytes");
                u32::from_le_bytes(*end) as usize
            })
            .collect();
        // The first entry is the stream's.
        let records = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
        (table, records)
    }
}

/// Makes every field of an event needed, so that none of the decoding can be left out.
///
/// By reference, as all here: `black_box` of anything larger than a register writes it to memory and reads it back. Where
/// the two are of different sizes the processor waits, and what is measured can take twice as long.
#[inline]
fn touch(event: &EventRef<'_>) {
    black_box(event);
}

/// A slice of which the compiler knows nothing.
#[inline]
fn hidden<'a>(bytes: &&'a [u8]) -> &'a [u8] {
    let bytes: &&[u8] = black_box(bytes);
    bytes
}

/// Numbers that are the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// A buffer that is reused, like the store's: what is written starts `at` bytes past a cache line and its capacity stays.
struct Reused {
    bytes: Vec<u8>,
    at: usize,
}

impl Reused {
    fn new(at: usize, capacity: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(64 + at + capacity);
        let to_line = bytes.as_ptr().align_offset(64);
        bytes.resize(to_line + at, 0);
        let at = bytes.len();
        Self { bytes, at }
    }

    fn of(at: usize, contents: &[u8]) -> Self {
        let mut reused = Self::new(at, contents.len());
        reused.bytes.extend_from_slice(contents);
        reused
    }

    fn cleared(&mut self) -> &mut Vec<u8> {
        self.bytes.truncate(self.at);
        &mut self.bytes
    }

    fn written(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for len in [64, 300, 4096, 65_536] {
        let bytes = Random(1).bytes(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes, |b, bytes| {
            b.iter(|| crc32c(hidden(&bytes.as_slice())));
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for shape in [PLAIN, TAGGED] {
        for events in [1, 100] {
            let sample = Sample::new(events, shape);
            let mut out = Reused::new(0, sample.frame.len());
            group.throughput(Throughput::Elements(events as u64));
            group.bench_function(BenchmarkId::new(shape.name, events), |b| {
                b.iter(|| sample.encode(out.cleared()));
            });
        }
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for shape in [PLAIN, TAGGED] {
        let sample = Sample::new(100, shape);
        let shared = Bytes::from(sample.frame.clone());
        group.throughput(Throughput::Elements(sample.events().into()));
        group.bench_function(BenchmarkId::new("borrowed", shape.name), |b| {
            b.iter(|| sample.decode(&sample.frame));
        });
        group.bench_function(BenchmarkId::new("owned", shape.name), |b| {
            b.iter(|| sample.decode_owned(&shared));
        });
        group.bench_function(BenchmarkId::new("verified whole", shape.name), |b| {
            b.iter(|| black_box(sample.open(&sample.frame).verify().is_ok()));
        });
    }
    let sample = Sample::new(1000, PLAIN);
    let mut index = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("one of 1000", |b| {
        b.iter(|| {
            index = rotate(index, sample.events());
            sample.decode_one(&sample.frame, index);
        });
    });
    group.finish();
}

/// The next event to look at: far from the one before, and every one in turn.
fn rotate(index: u32, events: u32) -> u32 {
    (index + 389) % events
}

criterion_group!(benches, checksum, encode, decode);

/// How long `iterations` of `work` take. Compiled anew for each, since a call would be a tenth of the shortest.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn time(iterations: u32, work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..iterations {
        work();
    }
    start.elapsed()
}

/// How many iterations of `work` take about as long as a batch should.
fn iterations_in(batch: Duration, work: &mut impl FnMut()) -> u32 {
    let mut iterations = 1;
    while time(iterations, work) < batch {
        iterations *= 2;
    }
    iterations
}

/// What alternating two sides gave: nanoseconds of one iteration of each, pair by pair, and place by place.
#[derive(Default)]
struct Pairs(Vec<Vec<(f64, f64)>>);

impl Pairs {
    /// Alternates `a` and `b` at one more place, in batches that are long against the clock's resolution and short against
    /// whatever else the machine does.
    fn measure(&mut self, pairs: usize, a: &mut impl FnMut(), b: &mut impl FnMut()) {
        const BATCH: Duration = Duration::from_micros(100);
        let (of_a, of_b) = (iterations_in(BATCH, a), iterations_in(BATCH, b));
        let pair = |pair| {
            // Each side goes first as often as the other: the second finds what the first left in the caches.
            let (time_a, time_b) = if pair % 2 == 0 {
                let time_a = time(of_a, a);
                (time_a, time(of_b, b))
            } else {
                let time_b = time(of_b, b);
                (time(of_a, a), time_b)
            };
            (time_a.as_secs_f64() * 1e9 / f64::from(of_a), time_b.as_secs_f64() * 1e9 / f64::from(of_b))
        };
        self.0.push((0..pairs).map(pair).collect());
    }

    fn median(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        median(self.0.iter().flatten(), of)
    }

    /// Prints the median of a figure, between the medians of the place that has the lowest and the one that has the
    /// highest.
    fn report(&self, what: &str, of: impl Fn(f64, f64) -> f64, unit: &str, limit: Option<f64>) {
        let figure = self.median(&of);
        let places = self.0.iter().map(|pairs| median(pairs, &of));
        let (lowest, highest) = places.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        let verdict = limit.map_or("no limit".into(), |limit| {
            let verdict = if figure <= limit { "PASS" } else { "FAIL" };
            format!("limit {limit} {verdict}")
        });
        println!(
            "{what:<51} {figure:>6.2} {unit:<2}  {verdict:<14} by place {lowest:>5.2} to {highest:>5.2};  {:>7.1} ns, {:>7.1} ns",
            self.median(|a, _| a),
            self.median(|_, b| b),
        );
    }
}

fn median<'a>(pairs: impl IntoIterator<Item = &'a (f64, f64)>, of: impl Fn(f64, f64) -> f64) -> f64 {
    let mut values: Vec<f64> = pairs.into_iter().map(|(a, b)| of(*a, *b)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quotient(a: f64, b: f64) -> f64 {
    a / b
}

/// Encoding a one-event frame against copying its bytes as one block and summing them in one call.
fn encode_one(shape: Shape, limit: Option<f64>) {
    let sample = Sample::new(1, shape);
    let mut pairs = Pairs::default();
    for at in ALIGNMENTS {
        let mut encoded = Reused::new(at, sample.frame.len());
        let mut copied = Reused::new(at, sample.frame.len());
        pairs.measure(
            100,
            &mut || {
                sample.encode(encoded.cleared());
                black_box(&encoded);
            },
            &mut || {
                copied.cleared().extend_from_slice(black_box(&sample.frame));
                black_box(crc32c(black_box(&copied).written()));
            },
        );
    }
    let what = format!("encode 1 event / copy + 1 CRC, {}", shape.name);
    pairs.report(&what, quotient, "x", limit);
}

/// Encoding a 100-event frame against copying its bytes as one block and summing each event and the table.
fn encode_hundred(shape: Shape, limit: Option<f64>) {
    let sample = Sample::new(100, shape);
    let (table, records) = sample.pieces();
    let mut pairs = Pairs::default();
    for at in ALIGNMENTS {
        let mut encoded = Reused::new(at, sample.frame.len());
        let mut copied = Reused::new(at, sample.frame.len());
        pairs.measure(
            100,
            &mut || {
                sample.encode(encoded.cleared());
                black_box(&encoded);
            },
            &mut || {
                copied.cleared().extend_from_slice(black_box(&sample.frame));
                let bytes = black_box(&copied).written();
                for record in &records {
                    black_box(crc32c(&bytes[record.clone()]));
                }
                black_box(crc32c(&bytes[table.clone()]));
            },
        );
    }
    let what = format!("encode 100 events / copy + 101 CRCs, {}", shape.name);
    pairs.report(&what, quotient, "x", limit);
}

/// Decoding a 100-event frame against summing each event.
fn decode_hundred(shape: Shape, limit: Option<f64>) {
    let sample = Sample::new(100, shape);
    let (_, records) = sample.pieces();
    let mut pairs = Pairs::default();
    for at in ALIGNMENTS {
        let frame = Reused::of(at, &sample.frame);
        pairs.measure(100, &mut || sample.decode(frame.written()), &mut || {
            let bytes = black_box(&frame).written();
            for record in &records {
                black_box(crc32c(&bytes[record.clone()]));
            }
        });
    }
    let what = format!("decode 100 events / 100 CRCs, {}", shape.name);
    pairs.report(&what, quotient, "x", limit);
}

/// What an owned event costs more than a borrowed one.
fn decode_to_owned(shape: Shape, limit: Option<f64>) {
    let sample = Sample::new(100, shape);
    let mut pairs = Pairs::default();
    for at in ALIGNMENTS {
        let frame = Reused::of(at, &sample.frame);
        let shared = Bytes::from(frame.bytes).slice(frame.at..);
        pairs.measure(100, &mut || sample.decode_owned(&shared), &mut || sample.decode(&shared));
    }
    let events = f64::from(sample.events());
    let what = format!("an event, owned - borrowed, {}", shape.name);
    pairs.report(&what, |owned, borrowed| (owned - borrowed) / events, "ns", limit);
}

/// One event of a large frame against all of them.
fn decode_one_of_many(limit: f64) {
    let sample = Sample::new(1000, PLAIN);
    let mut pairs = Pairs::default();
    let mut index = 0;
    for at in ALIGNMENTS {
        let frame = Reused::of(at, &sample.frame);
        pairs.measure(
            100,
            &mut || {
                index = rotate(index, sample.events());
                sample.decode_one(frame.written(), index);
            },
            &mut || sample.decode(frame.written()),
        );
    }
    pairs.report("decode 1 of 1,000 events / all of them", |one, all| 100.0 * one / all, "%", Some(limit));
}

/// The checksum's own speed, since a slow one would flatter every ratio that has it below the line. Calls that follow
/// each other are independent, as those of a frame's records are, and start anywhere in a cache line.
fn checksum_speed() {
    for len in [64, 300, 4096, 65_536_u32] {
        let bytes = Random(2).bytes(len as usize + 64);
        let mut pairs = Pairs::default();
        let mut out = Vec::with_capacity(bytes.len());
        for at in 0..64 {
            let bytes = &bytes[at..at + len as usize];
            pairs.measure(
                10,
                &mut || {
                    black_box(crc32c(hidden(&bytes)));
                },
                &mut || {
                    out.clear();
                    out.extend_from_slice(hidden(&bytes));
                    black_box(&out);
                },
            );
        }
        let len = f64::from(len);
        println!(
            "CRC-32C of {len:>5} B: {:>6.2} GB/s, {:>7.1} ns; copying them: {:>6.2} GB/s",
            pairs.median(|crc, _| len / crc),
            pairs.median(|crc, _| crc),
            pairs.median(|_, copy| len / copy),
        );
    }
}

fn ratios() {
    println!("Limits: medians over pairs of neighbouring batches, and what one iteration of either side takes.");
    checksum_speed();
    encode_one(PLAIN, Some(3.0));
    encode_one(NAMED, None);
    encode_one(TAGGED, None);
    encode_hundred(PLAIN, Some(1.5));
    encode_hundred(TAGGED, None);
    decode_hundred(PLAIN, Some(2.0));
    decode_hundred(TAGGED, None);
    decode_to_owned(PLAIN, Some(80.0));
    decode_to_owned(TAGGED, None);
    decode_one_of_many(1.0);
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo bench` passes `--bench`; without it, as under `cargo test`, each bench runs once to see that it works.
    let given = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    if given("--bench") && !given("--test") && !given("--list") && !given("--profile-time") {
        ratios();
    }
}
