//! Drives every fuzz target over its corpus, the fixtures, and mutations of both that are the same in each run.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::fs;
use std::path::{Path, PathBuf};

use spreadwire::venues::VENUES;

/// Mutations of each target.
const MUTATIONS: u64 = 4_000;

/// A row of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder; none if there is no such folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().map(|it| it.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()).collect()
}

/// What a target begins with: its corpus, and of the codecs the frames of the fixtures.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = files(&root().join("fuzz/corpus").join(target));
    for (at, venue) in VENUES.iter().enumerate() {
        let fixtures = root().join("tests/fixtures").join(venue.facts().name);
        match target {
            "codec" | "twins" => {
                let text = fs::read_to_string(fixtures.join("frames.txt")).unwrap();
                for case in text.split("\n\n") {
                    let frames = case.lines().filter_map(|line| line.strip_prefix("> ")).collect::<Vec<_>>().join("\n");
                    seeds.extend([0, 16].map(|kind| [&[at as u8 + kind], frames.as_bytes()].concat()));
                }
            }
            "listing" => {
                // Long lists only cost time: their beginning and their end.
                let list = fs::read(fixtures.join("instruments.json")).unwrap_or_default();
                seeds.push([&[at as u8], &list[..list.len().min(4000)]].concat());
            }
            _ => {}
        }
    }
    if target == "state" {
        seeds.push(spreadwire::last_known::file::encode("boot", &[], &bodies::directory()));
    }
    seeds.push(Vec::new());
    seeds
}

/// Bytes that parsers look for.
const MARKS: &[u8] = b"0-.eE\"[]{},:9 \n\\\0\xff";

fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            2 if at < bytes.len() => bytes[at] = MARKS[dice.below(MARKS.len())],
            3 => bytes.insert(at, MARKS[dice.below(MARKS.len())]),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            5 => {
                // A part of another seed.
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len());
                let to = from + dice.below(other.len() - from);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            6 => {
                let digits = vec![b"019"[dice.below(3)]; 1 + dice.below(40)];
                bytes.splice(at..at, digits);
            }
            _ => {
                let to = at + dice.below(bytes.len() - at);
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

#[test]
fn every_target_survives_its_corpus_and_what_is_made_of_it() {
    for &(name, target) in bodies::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() > 1, "{name}: no corpus");
        let mut dice = Dice(1);
        let mutations = (0..MUTATIONS).map(|_| mutated(&seeds, &mut dice));
        for bytes in seeds.iter().cloned().chain(mutations) {
            let run = std::panic::catch_unwind(|| target(&bytes));
            assert!(run.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn every_target_has_an_entry_for_cargo_fuzz() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for (name, _) in bodies::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        assert!(root().join(format!("fuzz/fuzz_targets/{name}.rs")).is_file(), "{name}");
    }
}
