//! Random numbers that depend on names and counters alone, never on which thread draws them.

/// The key of a `ChaCha8Rng` for one stream of numbers: every (seed, a, b, purpose) has its own.
///
/// `purpose` is cut to its first eight bytes.
pub(crate) fn stream(seed: u64, a: u64, b: u64, purpose: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&a.to_le_bytes());
    key[16..24].copy_from_slice(&b.to_le_bytes());
    for (place, byte) in key[24..].iter_mut().zip(purpose.bytes()) {
        *place = byte;
    }
    key
}
