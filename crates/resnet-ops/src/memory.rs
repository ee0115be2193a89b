//! What can be held in memory at all: asked before anything is allocated, because an allocation that fails ends the process.

use std::collections::TryReserveError;
use std::fmt::Display;
use std::fs;
use std::sync::OnceLock;

use candle_core::{Device, Result};

/// Bytes of the largest value: more than any machine holds, and few enough that sizes of all parts can be computed.
const MOST_BYTES: u128 = 1 << 40;

/// Bytes from which the machine is asked; what is less is not worth it.
const MANY_BYTES: u128 = 1 << 28;

/// Refuses a value of so many bytes that is too large for any machine, or for this one where it is to lie in its memory.
/// The message begins with `what`.
///
/// # Errors
/// If it cannot be held.
pub fn check(what: impl Display, bytes: u128, device: &Device) -> Result<()> {
    if bytes > MOST_BYTES {
        bail!("{what} takes {} GB; {} are possible", giga(bytes), giga(MOST_BYTES));
    }
    if bytes <= MANY_BYTES || !device.is_cpu() {
        return Ok(());
    }
    if bytes > u128::from(total()) {
        bail!("{what} takes {} GB; this machine has {}", giga(bytes), giga(total().into()));
    }
    if reserve(bytes).is_err() {
        bail!("{what} takes {} GB, which this process cannot get", giga(bytes));
    }
    Ok(())
}

fn giga(bytes: u128) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

/// Asks for the memory and gives it back untouched.
fn reserve(bytes: u128) -> std::result::Result<(), TryReserveError> {
    Vec::<u8>::new().try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Bytes of memory and swap that this process may have, as far as the system says so.
fn total() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
        let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let limits = groups.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
        machine.into_iter().chain(limits).min().unwrap_or(u64::MAX)
    })
}

fn of_meminfo(text: &str) -> Option<u64> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((kilobytes("MemTotal")? + kilobytes("SwapTotal").unwrap_or(0)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_machine_is_read() {
        let text = "MemTotal:       24506808 kB\nMemFree:         102400 kB\nSwapTotal:          1024 kB\n";
        assert_eq!(of_meminfo(text), Some((24_506_808 + 1024) * 1024));
        assert_eq!(of_meminfo("MemFree: 7 kB\n"), None);
        assert!(total() > 0);
    }

    #[test]
    fn what_no_machine_holds_is_refused_before_it_is_asked_for() {
        assert!(check("add: a result", 1 << 20, &Device::Cpu).is_ok());
        for bytes in [1u128 << 41, 1 << 63, u128::MAX] {
            let error = check("add: a result", bytes, &Device::Cpu).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.starts_with("add: a result takes ")));
        }
    }
}
