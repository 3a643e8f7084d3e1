//! Where the corpora start from: the same seeds in every run.

use super::names::aimed;
use crate::shared::noise::instructions;

/// Seeds for the target of this name.
///
/// # Panics
///
/// If there is no such target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "names" => {
            let seeds = instructions(0x4A, 64, |index| vec![index]).into_iter();
            let seeds = seeds.enumerate().map(|(index, seed)| aimed(&seed, [1, 7].contains(&(index % 8))));
            seeds.chain(file_names()).collect()
        }
        "operations" => instructions(0x09, 96, |index| vec![index.wrapping_mul(29), index]),
        "query" => instructions(0x0E, 64, |index| vec![index]),
        "recover" => {
            // Stores left in every way and not damaged; then each kind of damage, alone and with others.
            let mut seeds: Vec<Vec<u8>> =
                (0..=255u8).step_by(3).map(|life| vec![life, life.wrapping_mul(73), 0]).collect();
            seeds.extend(instructions(0x4C, 128, |index| {
                let second = index % 16;
                vec![index.wrapping_mul(53), index, 1 + index / 64, index << 4 | second]
            }));
            // A frame that nobody asked for, of this and of other incarnations, behind the end or a gap, saying of this and of
            // that that it is durable.
            for life in [0x04, 0xC4] {
                for shape in (0..64).filter(|shape| [0, 3, 5].contains(&(shape & 7))) {
                    seeds.extend([0, 5].map(|durable| vec![life, 0xFF, 1, 14, shape, durable, 0, 5, 7, 0, 0]));
                }
            }
            // A frame in the midst of the log that is gone.
            seeds.extend((0..8).map(|frame| vec![0x07, 0xFF, 1, 3, 2 | frame << 2, 0, 1]));
            seeds
        }
        _ => panic!("no target is called {target}"),
    }
}

/// Files beside a store: numbers that are and are not, with everything that can stand behind them.
fn file_names() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in [4, 6, 7] {
        for more in [None, Some(15), Some(16), Some(18), Some(22)] {
            for kind in 8..=12 {
                for end in [None, Some(13)] {
                    let parts: Vec<u8> = [Some(number), more, Some(kind), end].into_iter().flatten().collect();
                    let shape = u8::try_from(parts.len() - 1).expect("up to four parts") << 1;
                    seeds.push(aimed(&[&[1, shape], &*parts].concat(), true));
                }
            }
        }
    }
    seeds
}
