//! Small files with errors in them, for the readers of foreign bytes: each test runs some thousands, and as many as
//! `RESNET_MUTATIONS` says, which then print what they cost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// No small file may take longer.
const LONGEST: Duration = Duration::from_secs(2);

/// Numbers that counts and sizes go wrong with.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

/// Runs a reader on damaged forms of these files. It may fail, and must neither panic nor take long.
pub(crate) fn campaign(name: &str, files: &[Vec<u8>], repair: impl Fn(&mut Vec<u8>), read: impl Fn(&[u8]) -> bool) {
    let count: u64 = std::env::var("RESNET_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let (mut fine, mut slowest) = (0_u64, Duration::ZERO);
    for number in 0..count {
        let mut bytes = mutated(files, number);
        if number % 2 == 0 {
            repair(&mut bytes);
        }
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        let taken = begun.elapsed();
        slowest = slowest.max(taken);
        if outcome.is_err() || taken > LONGEST {
            let kept = std::env::temp_dir().join(format!("{name}-{number}"));
            std::fs::write(&kept, &bytes).unwrap();
            panic!("{name}: mutation {number} {outcome:?} after {taken:?}; kept as {}", kept.display());
        }
        fine += u64::from(outcome.unwrap_or(false));
    }
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_string();
    println!("{name}: {count} files, {fine} of them still read, the slowest in {slowest:?}, {memory}");
}

/// The `number`-th damaged form.
fn mutated(files: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut bytes = files[rng.random_range(0..files.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..=64)).min(bytes.len());
        match rng.random_range(0..9) {
            0..=2 => bytes[at] ^= 1 << rng.random_range(0..8),
            3 => bytes[at] = NUMBERS[rng.random_range(0..6)] as u8,
            4 => {
                let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
                let wide = if rng.random() { number.to_le_bytes() } else { number.to_be_bytes() };
                bytes.iter_mut().skip(at).zip(wide).for_each(|(byte, new)| *byte = new);
            }
            5 => bytes.truncate(at),
            6 => drop(bytes.drain(at..end)),
            7 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let other = &files[rng.random_range(0..files.len())];
                let from = rng.random_range(0..other.len());
                let part = other[from..(from + 64).min(other.len())].to_vec();
                bytes.splice(at..end, part);
            }
        }
    }
    bytes
}
