//! Holds the code's tables and constants against `docs/FORMAT.md`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::{footer, frame, limits, segment};

const WHOLE: &str = include_str!("../../../docs/FORMAT.md");

/// The sections that are this crate's, 1 to 6; those behind them are held against the store's code.
static DOCUMENT: LazyLock<&str> = LazyLock::new(|| {
    let end = WHOLE.match_indices("\n## ").nth(6).map_or(WHOLE.len(), |(end, _)| end);
    assert!(WHOLE[..end].contains("\n## 6. Where a log ends\n"), "the sections are not numbered in their order");
    &WHOLE[..end]
});

/// The rows of the table under `Table: {name}`, as offset, size and field.
fn table(name: &str) -> Vec<(usize, usize, String)> {
    let (_, rest) = DOCUMENT.split_once(&format!("\nTable: {name}, ")).unwrap_or_else(|| panic!("no table {name}"));
    rest.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            Some((cells[1].parse().ok()?, cells[2].parse().ok()?, cells[3].trim_matches('`').to_owned()))
        })
        .collect()
}

/// The size a table is announced with.
fn announced(name: &str) -> usize {
    let (_, rest) = DOCUMENT.split_once(&format!("\nTable: {name}, ")).expect("the table is there");
    rest.split(' ').next().and_then(|size| size.parse().ok()).expect("a table is announced with its size")
}

fn compare(name: &str, size: usize, fields: &[(&str, usize, usize)]) {
    let written: Vec<_> = table(name).into_iter().filter(|(_, size, _)| *size > 0).collect();
    let coded: Vec<_> = fields.iter().map(|(field, offset, size)| (*offset, *size, field.to_lowercase())).collect();
    assert_eq!(written, coded, "table {name}");
    assert_eq!(announced(name), size, "size of {name}");
}

macro_rules! compare_layouts {
    ($($name:literal => $layout:path),+ $(,)?) => {{
        $({
            use $layout as layout;
            compare($name, layout::SIZE, layout::FIELDS);
        })+
        [$($name),+]
    }};
}

#[test]
fn every_table_is_the_codes_own() {
    let compared = compare_layouts! {
        "segment header" => segment::table,
        "frame header" => frame::tables::frame_header,
        "extension field" => frame::tables::extension_field,
        "link field" => frame::tables::link_field,
        "successor field" => frame::tables::successor_field,
        "configuration field" => frame::tables::configuration_field,
        "record entry" => frame::tables::record_entry,
        "stream record" => frame::tables::stream_record,
        "event record" => frame::tables::event_record,
        "footer header" => footer::tables::footer_header,
        "section entry" => footer::tables::section_entry,
        "footer trailer" => footer::tables::footer_trailer,
    };
    assert_eq!(DOCUMENT.matches("\nTable: ").count(), compared.len(), "a table of the document has no code");
}

#[test]
fn every_constant_is_the_codes_own() {
    let coded = BTreeMap::from([
        ("FORMAT_VERSION", u64::from(limits::FORMAT_VERSION)),
        ("HEADER_BLOCK_LEN", limits::HEADER_BLOCK_LEN as u64),
        ("FIRST_FRAME_OFFSET", limits::FIRST_FRAME_OFFSET),
        ("FRAME_ALIGN", limits::FRAME_ALIGN),
        ("TAIL_ZEROES_LEN", limits::TAIL_ZEROES_LEN),
        ("MAX_SEGMENT_LEN", limits::MAX_SEGMENT_LEN),
        ("MIN_SEGMENT_SIZE", limits::MIN_SEGMENT_SIZE),
        ("DEFAULT_SEGMENT_SIZE", limits::DEFAULT_SEGMENT_SIZE),
        ("MAX_SEGMENT_SIZE", limits::MAX_SEGMENT_SIZE),
        ("FIRST_CAPACITY", limits::FIRST_CAPACITY),
        ("MAX_IDEMPOTENCY_WINDOW", u64::from(limits::MAX_IDEMPOTENCY_WINDOW)),
        ("DEFAULT_IDEMPOTENCY_WINDOW", u64::from(limits::DEFAULT_IDEMPOTENCY_WINDOW)),
        ("FRAME_HEADER_LEN", limits::FRAME_HEADER_LEN as u64),
        ("MAX_FRAME_LEN", limits::MAX_FRAME_LEN as u64),
        ("MAX_EXTENSION_LEN", limits::MAX_EXTENSION_LEN as u64),
        ("MAX_EVENTS_PER_APPEND", limits::MAX_EVENTS_PER_APPEND as u64),
        ("STREAM_RECORD_LEN", limits::STREAM_RECORD_LEN as u64),
        ("EVENT_RECORD_LEN", limits::EVENT_RECORD_LEN as u64),
        ("MAX_EVENT_SIZE", limits::MAX_EVENT_SIZE as u64),
        ("MAX_APPEND_SIZE", limits::MAX_APPEND_SIZE as u64),
        ("MAX_EVENT_TYPE_LEN", limits::MAX_EVENT_TYPE_LEN as u64),
        ("MAX_TAGS", limits::MAX_TAGS as u64),
        ("MAX_TAG_LEN", limits::MAX_TAG_LEN as u64),
        ("MAX_STREAM_NAME_LEN", limits::MAX_STREAM_NAME_LEN as u64),
        ("FOOTER_VERSION", u64::from(footer::FOOTER_VERSION)),
        ("FOOTER_ALIGN", footer::FOOTER_ALIGN),
        ("FOOTER_HEADER_LEN", footer::FOOTER_HEADER_LEN as u64),
        ("SECTION_ENTRY_LEN", footer::SECTION_ENTRY_LEN as u64),
        ("TRAILER_LEN", footer::TRAILER_LEN as u64),
        ("MAX_SECTIONS", footer::MAX_SECTIONS as u64),
        ("MAX_FOOTER_LEN", footer::MAX_FOOTER_LEN),
    ]);
    let written: BTreeMap<&str, u64> = DOCUMENT
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let value = rest.split(' ').next()?.parse().ok()?;
            name.chars().all(|c| c.is_ascii_uppercase() || c == '_').then_some((name, value))
        })
        .collect();
    assert_eq!(written, coded);
}

/// The bytes a rule gives in hex for the field of a table.
fn magic(name: &str) -> Vec<u8> {
    let (_, rest) = DOCUMENT.split_once(&format!("\nTable: {name}, ")).expect("the table is there");
    let row = rest.lines().find(|line| line.contains("| `magic` |")).expect("a row for the magic");
    let rule = row.split('|').nth(4).expect("a rule").trim().trim_matches('`');
    rule.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

#[test]
fn every_number_is_the_codes_own() {
    assert_eq!(magic("segment header"), segment::SEGMENT_MAGIC);
    assert_eq!(magic("frame header"), frame::FRAME_MAGIC);
    assert_eq!(magic("footer header"), footer::FOOTER_MAGIC);
    assert_eq!(magic("footer trailer"), footer::TRAILER_MAGIC);

    let (_, kinds) = DOCUMENT.split_once("### 4.2 Kinds").expect("the section is there");
    let (kinds, _) = kinds.split_once("### 4.3").expect("the next section follows");
    let mut named = 0;
    for line in kinds.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(number) = cells[1].parse::<u8>() else {
            continue;
        };
        named += 1;
        match crate::FrameKind::from_number(number) {
            Ok(kind) => {
                assert_eq!(kind.number(), number);
                assert_eq!(format!("{kind:?}").to_lowercase(), cells[2]);
            }
            Err(crate::Unsupported::FrameKind { kind, name }) => {
                assert_eq!((kind, name), (number, cells[2]));
            }
            Err(other) => panic!("kind {number}: {other}"),
        }
    }
    assert_eq!(named, 9);
    for (field, number) in [
        ("LINK", frame::tables::FIELD_LINK),
        ("CONFIGURATION", frame::tables::FIELD_CONFIGURATION),
        ("SUCCESSOR", frame::tables::FIELD_SUCCESSOR),
    ] {
        assert!(DOCUMENT.contains(&format!("| {number:#06x} | `{field}` |")), "{field}");
    }
}
