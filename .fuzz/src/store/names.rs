//! The names of streams and files, and what else is bounded of an append, against a second statement of the rules: section
//! 3 of the design, sections 3, 4.5 and 9 of `docs/FORMAT.md`.

use std::sync::LazyLock;

use bytes::Bytes;
use eventfold_codec::ProposedAppend;
use eventfold_io::check_name;
use eventfold_io::sim::{Keep, SimDisk};
use eventfold_store::{
    Append, Error, InvalidAppend, InvalidStreamName, ProposedEvent, QueryItem, RecordedEvent, ResolvedStream, Store,
    StreamName, StreamRef, Tag,
};
use uuid::Uuid;

use super::scenario::World;
use super::sha1;
use crate::shared::reader::Reader;

const NAME_MAX: usize = 512;
const TEXT_MAX: usize = 256;
const TAGS_MAX: usize = 64;
const EVENT_MAX: usize = 1 << 20;
const APPEND_MAX: usize = 16 << 20;

/// The nil stream, which is none.
const NIL: Uuid = Uuid::from_u128(0);

/// Large payloads are slices of these.
static ZEROES: [u8; EVENT_MAX + 64] = [0; EVENT_MAX + 64];

/// A store without events, closed cleanly.
static EMPTY: LazyLock<SimDisk> = LazyLock::new(|| {
    let world = World::new(0xE0);
    world.open().close().expect("nothing goes wrong");
    world.sim.crash(&Keep::Everything);
    world.sim
});

/// What an input is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The name of a file.
    FileName,
    /// A file beside a store.
    FileBesideAStore,
    /// The name of a stream.
    Stream,
    /// An append, checked.
    Append,
    /// An append to a store.
    AppendToAStore,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::FileName, Self::FileBesideAStore, Self::Stream, Self::Append, Self::AppendToAStore];

    /// That of this input.
    pub fn of(data: &[u8]) -> Self {
        match (Reader::new(data).u8() % 8, opens_a_store(data)) {
            (0 | 1, false) => Self::FileName,
            (0 | 1, true) => Self::FileBesideAStore,
            (2 | 3, _) => Self::Stream,
            (_, false) => Self::Append,
            (_, true) => Self::AppendToAStore,
        }
    }
}

/// One input in 32 opens a store, which takes a hundred times as long as all else. Its bytes decide that together: if one did,
/// what is made of such an input would mostly open a store as well.
fn opens_a_store(data: &[u8]) -> bool {
    data.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) >> 3 == 0
}

/// An input that reads the same and opens a store, or doesn't: the upper bits of the first byte have no other meaning, and
/// one of their values does it.
pub(super) fn aimed(data: &[u8], at_a_store: bool) -> Vec<u8> {
    let change = |upper: u8| [&[data[0] ^ upper << 3], &data[1..]].concat();
    (0..32).map(change).find(|data| opens_a_store(data) == at_a_store).expect("31 is odd")
}

/// Names, and what is appended under them.
///
/// # Panics
///
/// If a property does not hold.
pub fn names(data: &[u8]) {
    let mut input = Reader::new(data);
    input.u8();
    match Subject::of(data) {
        Subject::FileName => file_name(&file_text(&mut input)),
        Subject::FileBesideAStore => file_beside_a_store(&mut input),
        Subject::Stream => stream(&mut input),
        Subject::Append => check(&Proposal::read(&mut input)),
        Subject::AppendToAStore => store(&Proposal::read(&mut input), &mut input),
    }
}

// Streams.

/// What a text stands for that is given as a stream.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Id(Uuid),
    Name(Uuid),
    Wrong,
}

fn meaning(text: &str) -> Meaning {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_MAX {
        return Meaning::Wrong;
    }
    let hyphens = [8, 13, 18, 23];
    let is_uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(
            |(at, byte)| {
                if hyphens.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }
            },
        );
    if is_uuid {
        let digits: String = text.chars().filter(|char| *char != '-').collect();
        return Meaning::Id(Uuid::from_u128(u128::from_str_radix(&digits, 16).expect("32 digits")));
    }
    Meaning::Name(named(bytes))
}

/// UUIDv5 of the namespace and the name, by the book.
fn named(name: &[u8]) -> Uuid {
    let namespace = 0xe7f0_fe1d_5eed_5a1d_9b0c_0000_0000_0001_u128.to_be_bytes();
    let hash = sha1::sha1(&[&namespace[..], name].concat());
    let mut id: [u8; 16] = hash[..16].try_into().expect("20 bytes");
    id[6] = id[6] & 0x0F | 0x50;
    id[8] = id[8] & 0x3F | 0x80;
    Uuid::from_bytes(id)
}

/// A text that is near one of the rules.
fn text(input: &mut Reader<'_>) -> String {
    const LENGTHS: [usize; 12] = [0, 1, 35, 36, 37, 255, 256, 257, 511, 512, 513, 64];
    const CHARS: [char; 10] = ['a', '$', '-', 'é', '€', '😀', '\0', '\u{FFFD}', '0', ' '];
    let shape = input.u8();
    match shape % 8 {
        0 => {
            let len = usize::from(input.u8());
            String::from_utf8_lossy(input.bytes(len)).into_owned()
        }
        // So many bytes, or as many as whole characters come to below.
        1 => {
            let len = LENGTHS[usize::from(shape >> 3) % LENGTHS.len()];
            let char = CHARS[usize::from(input.u8()) % CHARS.len()];
            let mut text = char.to_string().repeat(len / char.len_utf8());
            while text.len() < len && input.u8() & 1 == 1 {
                text.push('z');
            }
            text
        }
        shape => {
            let id = Uuid::from_u128(u128::from(input.u64()) << 64 | u128::from(input.u64()));
            let mut text = match shape {
                2 => id.hyphenated().to_string(),
                3 => id.hyphenated().to_string().to_uppercase(),
                4 => {
                    let mask = input.u32();
                    let text = id.hyphenated().to_string();
                    let upper = |at: usize| mask >> (at % 32) & 1 == 1;
                    text.char_indices().map(|(at, c)| if upper(at) { c.to_ascii_uppercase() } else { c }).collect()
                }
                5 => match input.u8() % 3 {
                    0 => id.simple().to_string(),
                    1 => id.braced().to_string(),
                    _ => id.urn().to_string(),
                },
                6 => {
                    let mut bytes = id.hyphenated().to_string().into_bytes();
                    let at = input.below(bytes.len());
                    bytes[at] = input.u8() & 0x7F;
                    String::from_utf8(bytes).expect("ASCII")
                }
                _ => "$".to_owned(),
            };
            let len = usize::from(input.u8() % 4);
            text.push_str(&String::from_utf8_lossy(input.bytes(len)));
            text
        }
    }
}

fn stream(input: &mut Reader<'_>) {
    let (text, other) = (text(input), text(input));
    let by_text = [StreamRef::from(text.as_str()), StreamRef::from(text.clone()), StreamRef::from(&text)];
    let expected = match meaning(&text) {
        Meaning::Id(id) => {
            assert_eq!(StreamName::new(&text), Err(InvalidStreamName::IsUuid { id }));
            assert_eq!(StreamRef::from(&id).resolve(), Ok(ResolvedStream { id, name: None }));
            Ok(ResolvedStream { id, name: None })
        }
        Meaning::Wrong => {
            let error = InvalidStreamName::Length { len: text.len(), max: NAME_MAX };
            assert_eq!(StreamName::new(&text), Err(error));
            assert!(!error.to_string().is_empty());
            Err(error)
        }
        Meaning::Name(id) => {
            let name = StreamName::new(&text).expect("it keeps the rules");
            assert_eq!((name.id(), name.as_str()), (id, text.as_str()));
            assert_eq!(name.is_reserved(), text.as_bytes()[0] == b'$');
            assert_eq!(text.parse(), Ok(name.clone()));
            assert_eq!((name.to_string(), format!("{name:?}")), (text.clone(), format!("{text:?}")));
            if let Ok(other) = StreamName::new(&other) {
                assert_eq!(name.cmp(&other), text.as_bytes().cmp(other.as_str().as_bytes()));
                assert_eq!(name.id() == other.id(), name == other, "no two names of a few thousand share an id");
            }
            let resolved = ResolvedStream { id, name: Some(name.clone()) };
            assert_eq!(StreamRef::from(&name).resolve(), Ok(resolved.clone()));
            assert_eq!(StreamRef::from(name).resolve(), Ok(resolved.clone()));
            Ok(resolved)
        }
    };
    for stream in by_text {
        assert_eq!(stream.resolve(), expected);
        assert_eq!(stream.to_string(), text);
        assert_eq!(StreamRef::from(&stream), stream);
        assert!(!format!("{stream:?}").is_empty());
    }
}

// Files.

/// A text that is near a file's name.
fn file_text(input: &mut Reader<'_>) -> String {
    const PARTS: [&str; 24] = [
        "LOCK",
        "store.meta",
        "0000000000",
        "0000000001",
        "0000000007",
        "4294967295",
        "4294967296",
        "000000000",
        ".segment",
        ".checkpoint",
        ".directory",
        ".pending",
        ".dropped",
        ".new",
        "-",
        "-1",
        "-00",
        "-99",
        "-0",
        ".",
        "_",
        "9",
        "-9",
        "lock",
    ];
    let shape = input.u8();
    let mut text = String::new();
    if shape & 1 == 1 {
        return self::text(input);
    }
    for _ in 0..=shape >> 1 & 3 {
        text.push_str(PARTS[usize::from(input.u8()) % PARTS.len()]);
    }
    if shape >> 3 & 3 == 3 {
        text = text.repeat(1 + usize::from(input.u8()) / 4);
    }
    if shape >> 5 & 3 == 3 {
        let mut bytes = text.into_bytes();
        input.patch(&mut bytes);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    text
}

fn may_be_a_file(name: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&char);
    let first = name.chars().next();
    (1..=255).contains(&name.len()) && name.chars().all(plain) && first != Some('.') && first != Some('-')
}

fn file_name(name: &str) {
    assert_eq!(check_name(name).is_ok(), may_be_a_file(name), "{name:?}");
}

/// What a store makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Known,
    Unfinished,
    Foreign,
}

/// By section 9: ten digits that are a number of 32 bits, perhaps a hyphen and digits, and what kind it is.
fn role(name: &str) -> Role {
    if name == "LOCK" || is_dropped(name) {
        return Role::Known;
    }
    if is_written_aside(name) {
        return Role::Known;
    }
    match name.strip_suffix(".new") {
        Some(finished) if is_written_aside(finished) => Role::Unfinished,
        _ => Role::Foreign,
    }
}

fn is_number(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit()) && text <= "4294967295"
}

fn is_numbered(name: &str, kind: &str, digits: usize) -> bool {
    let Some(stem) = name.strip_suffix(kind) else { return false };
    let Some((number, more)) = stem.split_at_checked(10) else { return false };
    let more_is_right = if digits == 0 {
        more.is_empty()
    } else {
        more.len() == 1 + digits && more.starts_with('-') && more[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    is_number(number) && more_is_right
}

fn is_dropped(name: &str) -> bool {
    is_numbered(name, ".dropped", 2)
}

fn is_written_aside(name: &str) -> bool {
    name == "store.meta"
        || is_numbered(name, ".segment", 0)
        || is_numbered(name, ".checkpoint", 0)
        || is_numbered(name, ".directory", 1) && !name.contains("-0.")
        || is_numbered(name, ".pending", 2)
}

/// A file of any name beside a store's: opening and closing leave it alone unless it is theirs.
fn file_beside_a_store(input: &mut Reader<'_>) {
    let name = file_text(input);
    if !may_be_a_file(&name) || EMPTY.names().contains(&name) {
        return;
    }
    let world = World::on(EMPTY.fork(), 1);
    let contents = input.rest();
    let file = world.sim.attach().create(&name).expect("the name is valid and new");
    file.write_all_at(contents, 0).expect("nothing goes wrong");
    drop(file);
    let opened = world.try_open();
    let there = || world.sim.contents(&name);
    match role(&name) {
        Role::Foreign => {
            opened.expect("a foreign file is nothing to a store").close().expect("nothing goes wrong");
            assert_eq!(there().as_deref(), Some(contents), "{name} is not the store's");
        }
        Role::Unfinished => {
            opened.expect("what was cut is removed").close().expect("nothing goes wrong");
            assert_eq!(there(), None, "{name} was cut");
        }
        Role::Known => match opened {
            Ok(store) => drop(store.close()),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt(_) | Error::Unsupported { .. }), "{name}: {error}");
                assert_eq!(there().as_deref(), Some(contents), "{name}: {error}");
            }
        },
    }
}

// Appends.

/// An append, and the stream of each run as a text where it is one.
struct Proposal {
    runs: Vec<(Result<Uuid, String>, Vec<ProposedEvent>)>,
}

impl Proposal {
    fn read(input: &mut Reader<'_>) -> Self {
        let mut next_id = 0;
        let mut runs = Vec::new();
        for _ in 0..=input.u8() % 3 {
            let stream = match input.u8() % 8 {
                0 => Ok(NIL),
                1 => Ok(Uuid::from_u128(u128::from(input.u8()))),
                2 => Err("plain".to_owned()),
                _ => Err(text(input)),
            };
            let mut events: Vec<ProposedEvent> = (0..input.u8() % 4).map(|_| event(input)).collect();
            if let Some(last) = events.last().cloned()
                && input.u8() == 0x10
            {
                events.extend(vec![last; usize::from(input.u8() % 32)]);
            }
            for event in &mut events {
                next_id += 1;
                event.event_id = Some(Uuid::from_u128(next_id));
            }
            runs.push((stream, events));
        }
        Self { runs }
    }

    fn streams(&self) -> impl Iterator<Item = (StreamRef, &Vec<ProposedEvent>)> {
        self.runs.iter().map(|(stream, events)| {
            let stream = match stream {
                Ok(id) => StreamRef::from(id),
                Err(text) => StreamRef::from(text),
            };
            (stream, events)
        })
    }

    /// Everything that is wrong with it. Runs without events are not there.
    fn wrongs(&self) -> Vec<InvalidAppend> {
        let mut wrongs = Vec::new();
        let count = self.runs.iter().map(|(_, events)| events.len()).sum();
        if count == 0 {
            wrongs.push(InvalidAppend::EventCount { count, max: 65_536 });
        }
        let (mut index, mut total) = (0, 0);
        for (stream, events) in self.runs.iter().filter(|(_, events)| !events.is_empty()) {
            if let Err(text) = stream {
                let max = NAME_MAX;
                match meaning(text) {
                    Meaning::Wrong => {
                        let source = InvalidStreamName::Length { len: text.len(), max };
                        wrongs.push(InvalidAppend::StreamName { index, source });
                    }
                    Meaning::Name(_) if text.starts_with('$') => {
                        let name = StreamName::new(text).expect("it keeps the rules");
                        wrongs.push(InvalidAppend::ReservedStreamName { name });
                    }
                    Meaning::Name(_) | Meaning::Id(_) => {}
                }
            }
            for event in events {
                wrong_with(index, event, &mut wrongs);
                index += 1;
                total += size(event);
            }
        }
        if total > APPEND_MAX {
            wrongs.push(InvalidAppend::AppendTooLarge { size: total, max: APPEND_MAX });
        }
        wrongs
    }
}

fn event(input: &mut Reader<'_>) -> ProposedEvent {
    let shape = input.u8();
    let event_type = if shape & 1 == 1 { text(input) } else { input.text(12) };
    let tags: Vec<String> = match shape >> 1 & 3 {
        0 => Vec::new(),
        1 => (0..input.u8() % 4).map(|_| if shape >> 3 & 1 == 1 { text(input) } else { input.text(4) }).collect(),
        2 => {
            let many = 60 + usize::from(input.u8() % 8);
            (0..many).map(|tag| tag.to_string()).collect()
        }
        _ => vec!["same".to_owned(), input.text(3), "same".to_owned()],
    };
    let metadata = Bytes::copy_from_slice(input.bytes(usize::from(shape >> 4 & 7)));
    let event = ProposedEvent::new(event_type, "").with_tags(tags).with_metadata(metadata);
    let payload = if shape >> 5 == 7 {
        // One less than the most, the most, or one more.
        let len = (EVENT_MAX + usize::from(input.u8() % 3)).saturating_sub(1 + size(&event));
        Bytes::from_static(&ZEROES[..len])
    } else {
        Bytes::copy_from_slice(input.bytes(usize::from(shape >> 4)))
    };
    ProposedEvent { payload, ..event }
}

fn size(event: &ProposedEvent) -> usize {
    let tags: usize = event.tags.iter().map(|tag| tag.as_str().len()).sum();
    event.event_type.as_str().len() + tags + event.metadata.len() + event.payload.len()
}

fn wrong_with(index: usize, event: &ProposedEvent, wrongs: &mut Vec<InvalidAppend>) {
    let len = event.event_type.as_str().len();
    if len == 0 || len > TEXT_MAX {
        wrongs.push(InvalidAppend::EventTypeLength { index, len, max: TEXT_MAX });
    }
    let count = event.tags.len();
    if count > TAGS_MAX {
        wrongs.push(InvalidAppend::TooManyTags { index, count, max: TAGS_MAX });
    }
    for (tag, text) in event.tags.iter().map(Tag::as_str).enumerate() {
        let len = text.len();
        if len == 0 || len > TEXT_MAX {
            wrongs.push(InvalidAppend::TagLength { index, tag, len, max: TEXT_MAX });
        }
        if event.tags[..tag].iter().any(|other| other.as_str() == text) {
            wrongs.push(InvalidAppend::DuplicateTag { index, tag });
        }
    }
    let size = size(event);
    if size > EVENT_MAX {
        wrongs.push(InvalidAppend::EventTooLarge { index, size, max: EVENT_MAX });
    }
}

/// The codec takes it exactly if nothing is wrong with it, and else says something that is.
fn check(proposal: &Proposal) {
    let wrongs = proposal.wrongs();
    let append = (proposal.streams())
        .fold(ProposedAppend::new(), |append, (stream, events)| append.events(stream, events.clone()));
    match append.check(|| unreachable!("every event has an id")) {
        Ok(valid) => {
            assert!(wrongs.is_empty(), "{wrongs:?}");
            let events: Vec<_> = proposal.runs.iter().flat_map(|(_, events)| events).collect();
            assert_eq!(valid.size(), events.iter().map(|event| size(event)).sum::<usize>());
            assert_eq!(valid.event_count() as usize, events.len());
            assert!(valid.events().map(|(_, event)| event).eq(events));
        }
        Err(error) => {
            assert!(wrongs.contains(&error), "{error:?} is not one of {wrongs:?}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// So does the store; what it takes is there under the names it was given, also when it is opened again.
fn store(proposal: &Proposal, input: &mut Reader<'_>) {
    if proposal.runs.iter().flat_map(|(_, events)| events).map(size).sum::<usize>() > 1 << 16 {
        return check(proposal);
    }
    let wrongs = proposal.wrongs();
    let world = World::on(EMPTY.fork(), 2);
    let mut store = world.try_open().expect("nothing goes wrong");
    let append =
        (proposal.streams()).fold(Append::new(), |append, (stream, events)| append.events(stream, events.clone()));
    match store.append_all(append) {
        Ok(recorded) => {
            assert!(wrongs.is_empty(), "{wrongs:?}");
            found(proposal, &store, &recorded);
            match input.u8() % 4 {
                0 => store.close().expect("nothing goes wrong"),
                1 => {
                    world.sim.crash(&Keep::Nothing);
                    drop(store);
                }
                _ => return,
            }
            found(proposal, &world.try_open().expect("it was acknowledged"), &recorded);
        }
        Err(error) => {
            let told = match &error {
                Error::InvalidAppend(error) => wrongs.contains(error),
                Error::EventTooLarge { index, size, max } => {
                    wrongs.contains(&InvalidAppend::EventTooLarge { index: *index, size: *size, max: *max })
                }
                _ => false,
            };
            assert!(told, "{error:?} is not one of {wrongs:?}");
            assert_eq!(store.global_position(), 0);
        }
    }
}

fn found(proposal: &Proposal, store: &Store, recorded: &[RecordedEvent]) {
    let log = store.log().snapshot();
    assert_eq!(store.read_all(0, u64::MAX).expect("nothing goes wrong"), recorded);
    let proposed = proposal.runs.iter().flat_map(|(stream, events)| events.iter().map(move |event| (stream, event)));
    for (recorded, (stream, event)) in recorded.iter().zip(proposed.clone()) {
        let id = match stream {
            Ok(id) => *id,
            Err(text) => match meaning(text) {
                Meaning::Id(id) | Meaning::Name(id) => id,
                Meaning::Wrong => unreachable!("it was taken"),
            },
        };
        assert_eq!((recorded.stream_id, Some(recorded.event_id)), (id, event.event_id));
        assert_eq!((&recorded.event_type, &recorded.tags), (&event.event_type, &event.tags));
        assert_eq!((&recorded.metadata, &recorded.payload), (&event.metadata, &event.payload));
        let of_type: Vec<_> = recorded_of(store, QueryItem::new().types([&event.event_type]));
        assert!(of_type.contains(recorded));
        // Looking all of them up would take most of the time there is.
        for tag in event.tags.iter().take(3).chain(event.tags.last()) {
            assert!(recorded_of(store, QueryItem::new().tags([tag])).contains(recorded));
        }
    }
    assert_eq!(recorded.len(), proposed.count());

    for (stream, events) in proposal.streams().filter(|(_, events)| !events.is_empty()) {
        let ResolvedStream { id, name } = stream.resolve().expect("it was taken");
        if id == NIL {
            assert!(matches!(store.read_stream(stream, 0, 9), Err(Error::NoSuchStream)));
            continue;
        }
        let read = store.read_stream(&stream, 0, u64::MAX).expect("it was appended to");
        assert!(read.len() >= events.len() && read.iter().all(|event| event.stream_id == id));
        assert_eq!(store.read_stream(id, 0, u64::MAX).expect("it was appended to"), read);
        let info = log.stream_info(&stream).expect("nothing goes wrong").expect("it was appended to");
        assert_eq!((info.id, info.version + 1), (id, read.len() as u64));
        if let Some(name) = name {
            assert_eq!(info.name.as_ref(), Some(&name));
            let listed = log.streams(name.as_str(), None, 1).expect("nothing goes wrong");
            assert_eq!(listed.first().and_then(|first| first.name.as_ref()), Some(&name), "it is its own prefix");
            let item = QueryItem::new().stream_prefix(name.as_str());
            assert!(read.iter().all(|event| recorded_of(store, item.clone()).contains(event)));
        }
    }
}

fn recorded_of(store: &Store, item: QueryItem) -> Vec<RecordedEvent> {
    store.query(item, 0, u64::MAX).expect("the parts of what was appended keep the rules of queries")
}
