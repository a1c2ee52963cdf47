//! The corpus of every fuzz target, and changes to it, through every decoder: the fuzzers' assertions hold without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../fuzz/decoders.rs"]
mod decoders;

/// What the corpus may take in the repository.
const FILES_MAX: usize = 200;
const BYTES_MAX: usize = 300_000;
/// Changed copies of each file, beside all of its beginnings up to this length.
const CHANGES: u32 = 64;
const BEGINNINGS_MAX: usize = 256;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files = Vec::new();
    for folder in fs::read_dir(root).expect("is in the repository") {
        let folder = folder.expect("readable");
        for file in fs::read_dir(folder.path()).expect("a folder a target") {
            let path = file.expect("readable").path();
            let name = folder.file_name().into_string().expect("plain");
            files.push((name, fs::read(path).expect("readable")));
        }
    }
    files.sort();
    files
}

/// xorshift64: the same changes in every run.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A few bytes set to what breaks decoders, or a part repeated or taken out.
fn change(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + next(state) % 3 {
        if out.is_empty() {
            break;
        }
        let length = out.len() as u64;
        let at = (next(state) % length) as usize;
        match next(state) % 8 {
            0 => out[at] = 0,
            1 => out[at] = 0xff,
            2 => out[at] ^= 1 << (next(state) % 8),
            3 => out[at] = out[at].wrapping_add(1),
            4 => out[at] = out[at].wrapping_sub(1),
            5 => out[at] = next(state) as u8,
            6 => {
                let end = (at + 8).min(out.len());
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => drop(out.drain(at..(at + 8).min(length as usize))),
        }
    }
    out
}

/// OpenFlow alone: with the length of what is there, a changed body is looked at.
fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    if let (Ok(length), Some(field)) = (u16::try_from(bytes.len()), bytes.get_mut(2..4)) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[test]
fn every_target_has_a_small_corpus_of_its_own() {
    let corpus = corpus();
    let bytes: usize = corpus.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(corpus.len() <= FILES_MAX && bytes <= BYTES_MAX, "{} files, {bytes} bytes", corpus.len());
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (name, _) in decoders::ALL {
        assert!(corpus.iter().any(|(of, _)| of == name), "{name} has no corpus");
        assert!(targets.join(format!("{name}.rs")).is_file(), "{name} has no target");
    }
    for (name, _) in &corpus {
        assert!(decoders::ALL.iter().any(|(known, _)| known == name), "{name} has no decoder");
    }
}

#[test]
fn every_decoder_takes_every_file_and_what_it_may_become() {
    let mut state = 0x4653_0000_0000_0001;
    for (of, bytes) in corpus() {
        for (name, decode) in decoders::ALL {
            decode(&bytes);
            if *name != of {
                continue;
            }
            for end in 0..bytes.len().min(BEGINNINGS_MAX) {
                decode(&bytes[..end]);
                if of == "openflow_frame" {
                    decode(&with_length(bytes[..end].to_vec()));
                }
            }
            for _ in 0..CHANGES {
                let changed = change(&bytes, &mut state);
                decode(&changed);
                if of == "openflow_frame" {
                    decode(&with_length(changed));
                }
            }
        }
    }
}
