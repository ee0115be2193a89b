//! Seeds and finds: every input that is kept, through its reader, within a time that a user would wait.

use std::path::Path;
use std::time::{Duration, Instant};

use resnet_fuzz::READERS;

/// In a build without optimisation, on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

fn replay(folder: &str) -> usize {
    let mut count = 0;
    for reader in READERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(reader.name);
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let began = Instant::now();
            // The name comes first: a panic's message does not have it.
            println!("{}", path.display());
            (reader.read)(&bytes);
            assert!(began.elapsed() < LONGEST, "{} took {:?}", path.display(), began.elapsed());
            count += 1;
        }
    }
    count
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
fn every_reader_has_a_target_and_seeds() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for reader in READERS {
        assert!(here.join(format!("fuzz_targets/{}.rs", reader.name)).is_file(), "{} has no target", reader.name);
        assert!(here.join("corpus").join(reader.name).is_dir(), "{} has no seeds", reader.name);
    }
}
