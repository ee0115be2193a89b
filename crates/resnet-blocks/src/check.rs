//! Numbers that a caller gave, within their limits.

use candle_core::{Result, bail};

/// Channels, rows or columns of anything: what the operations count in.
const MOST: usize = i32::MAX as usize;

/// # Errors
/// If there is nothing of it, or more than can be counted.
pub(crate) fn check_size(field: &str, value: usize) -> Result<()> {
    if !(1..=MOST).contains(&value) {
        bail!("{field} = {value}; 1 to {MOST} are possible");
    }
    Ok(())
}

pub(crate) fn check_rate(field: &str, rate: f64) -> Result<()> {
    if !(0. ..1.).contains(&rate) {
        bail!("{field} = {rate} is not in [0, 1)");
    }
    Ok(())
}

pub(crate) fn check_finite(field: &str, value: f64) -> Result<()> {
    if !value.is_finite() {
        bail!("{field} = {value} is not finite");
    }
    Ok(())
}
