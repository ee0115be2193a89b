//! Seeds and finds: every input that is kept, and some that are made of them, through its reader, within a time that a
//! user would wait.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use resnet_fuzz::{READERS, Reader};

/// In a build without optimisation, on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Changed inputs for each reader, unless `RESNET_FUZZ_INPUTS` says how many.
const CHANGED: usize = 200;

fn kept(reader: &Reader, folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(reader.name);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

fn read(reader: &Reader, name: &str, bytes: &[u8]) {
    let began = Instant::now();
    // The name comes first: a panic's message does not have it.
    println!("{name}");
    (reader.read)(bytes);
    assert!(began.elapsed() < LONGEST, "{name} took {:?}", began.elapsed());
}

fn replay(folder: &str) -> usize {
    let kept = READERS.iter().flat_map(|reader| kept(reader, folder).into_iter().map(move |input| (reader, input)));
    kept.map(|(reader, (name, bytes))| read(reader, &name, &bytes)).count()
}

/// One to five changes that damage, a program, or somebody who means it, makes.
fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    for _ in 0..rng.random_range(1..=5) {
        let length = bytes.len();
        let at = rng.random_range(0..=length);
        let end = (at + rng.random_range(0..=32)).min(length);
        match rng.random_range(0..7) {
            0 if at < length => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < length => bytes[at] = rng.random(),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes.truncate(at),
            5 if !other.is_empty() => {
                let from = rng.random_range(0..other.len());
                let part = &other[from..(from + rng.random_range(1..=64)).min(other.len())];
                bytes.splice(at..end, part.iter().copied());
            }
            _ => {
                let (number, width) = (NUMBERS.choose(rng).unwrap(), *[1, 2, 4, 8].choose(rng).unwrap());
                let mut number = number.to_le_bytes()[..width].to_vec();
                if rng.random() {
                    number.reverse();
                }
                bytes.splice(at..(at + width).min(length), number);
            }
        }
    }
}

#[test]
fn seeds_are_read() {
    assert!(replay("corpus") >= READERS.len());
}

#[test]
fn finds_stay_mended() {
    println!("{} finds", replay("finds"));
}

#[test]
fn changed_inputs_are_read_or_refused() {
    let inputs = std::env::var("RESNET_FUZZ_INPUTS").map_or(CHANGED, |count| count.parse().unwrap());
    for (seed, reader) in READERS.iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let mut seeds: Vec<_> = ["corpus", "finds"].iter().flat_map(|folder| kept(reader, folder)).collect();
        seeds.shuffle(&mut rng);
        for number in 0..inputs {
            let mut bytes = seeds[number % seeds.len()].1.clone();
            change(&mut bytes, &seeds.choose(&mut rng).unwrap().1, &mut rng);
            read(reader, &format!("{} {number}", reader.name), &bytes);
        }
    }
}

#[test]
fn every_reader_has_a_target_and_seeds() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for reader in READERS {
        assert!(here.join(format!("fuzz_targets/{}.rs", reader.name)).is_file(), "{} has no target", reader.name);
        assert!(here.join("corpus").join(reader.name).is_dir(), "{} has no seeds", reader.name);
    }
}
