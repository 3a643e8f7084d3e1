//! Holds the index's constants and layouts against `docs/FORMAT.md`.

use std::collections::BTreeMap;

use super::directory::header::DIRECTORY_MAGIC;
use super::filter::{BLOCKS_PER_PAGE, FILTER_BLOCK_LEN, SALT};
use super::node::MAX_TERM_LEN;
use super::offsets::OFFSETS_STRIDE;
use super::page::{PAGE_CONTENT_LEN, PAGE_LEN};
use super::value::INLINE_POSTINGS_LEN;
use super::{CHUNK_LEN, TermKind};

const DOCUMENT: &str = include_str!("../../../../docs/FORMAT.md");

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| line.starts_with("| ")).map(|line| line.split('|').map(str::trim).collect())
}

fn section(title: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("\n{title}")).expect("the section is there");
    rest.split_once("\n##").map_or(rest, |(section, _)| section)
}

#[test]
fn every_constant_is_the_codes_own() {
    let coded = BTreeMap::from([
        ("PAGE_LEN", PAGE_LEN as u64),
        ("PAGE_CONTENT_LEN", PAGE_CONTENT_LEN as u64),
        ("OFFSETS_STRIDE", OFFSETS_STRIDE),
        ("CHUNK_LEN", CHUNK_LEN.into()),
        ("INLINE_POSTINGS_LEN", INLINE_POSTINGS_LEN as u64),
        ("MAX_TERM_LEN", MAX_TERM_LEN as u64),
        ("BLOCKS_PER_PAGE", BLOCKS_PER_PAGE as u64),
        ("FILTER_BLOCK_LEN", FILTER_BLOCK_LEN as u64),
    ]);
    let (_, index) = DOCUMENT.split_once("\n## 7. The index").expect("the section is there");
    let written: BTreeMap<&str, u64> = rows(index)
        .filter_map(|cells| {
            let name = cells[2].strip_prefix('`')?.strip_suffix('`')?;
            let constant = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            Some((name, cells[1].parse().ok().filter(|value| constant && *value > 5)?))
        })
        .collect();
    assert_eq!(written, coded);
    let salts: Vec<String> = SALT.iter().map(|salt| format!("{salt:08X}")).collect();
    assert!(DOCUMENT.contains(&format!("SALT = {}\n", salts.join(" "))));
}

#[test]
fn every_layout_adds_up() {
    let mut layouts = 0;
    for layout in DOCUMENT.split("\nLayout: ").skip(1) {
        let (title, rest) = layout.split_once("\n\n").expect("a layout has rows");
        let table = rest.split_once("\n\n").map_or(rest, |(table, _)| table);
        let mut end = 0;
        for cells in rows(table).skip(1) {
            assert_eq!(cells[1].parse(), Ok(end), "{title}");
            end += cells[2].parse::<usize>().unwrap();
        }
        assert!(title.ends_with(&format!(", {end} bytes")), "{title}: {end}");
        layouts += 1;
    }
    assert!(layouts >= 4);
}

#[test]
fn a_directory_starts_as_the_document_says() {
    let magic: Vec<String> = DIRECTORY_MAGIC.iter().map(|byte| format!("{byte:02X}")).collect();
    let directories = section("## 8. Directories");
    assert!(directories.contains(&format!("| 0 | 8 | `magic` | `{}` |", magic.join(" "))));
    assert!(directories.contains("| 8 | 4 | `directory_version` | 1 |"));
    assert!(directories.contains("with the seed `0x5EEDD120`"));
}

#[test]
fn every_kind_has_its_number() {
    use super::page::SectionKind::{Appends, Filter, Offsets, Postings, Terms};
    for kind in [Offsets, Terms, Postings, Filter, Appends] {
        let row = format!("| {} | `{}` |", kind.number(), format!("{kind:?}").to_uppercase());
        assert!(section("### 7.1").contains(&row), "{row}");
    }
    for (kind, name) in
        [(TermKind::Stream, "stream"), (TermKind::Type, "event type"), (TermKind::Tag, "tag"), (TermKind::Name, "name")]
    {
        let row = format!("| {} | {name} |", kind as u8);
        assert!(section("### 7.3").contains(&row), "{row}");
    }
}
