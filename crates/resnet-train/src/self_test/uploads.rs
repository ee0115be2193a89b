//! What arrives on the device is what was sent, also while copies wait and the host goes on.

use candle_core::{DType, Device, Result, Tensor};

use super::noise;

/// Values of tensors that are sent one right behind the other: more than there are stages, of which some have to grow, and
/// one too small to go by them.
const COUNTS: [usize; 8] = [1 << 18, 1 << 18, 1 << 18, 1 << 20, 1 << 16, 100, 1 << 20, 3 << 19];

/// The largest share of a tensor's values that `upload` has changed on the way.
pub(super) fn error(device: &Device, upload: impl Fn(&Tensor, &Device) -> Result<Tensor>) -> Result<f64> {
    let sent = |i: usize| noise(&[COUNTS[i]], i as u32);
    let waited_for = work(device)?;
    // The sources are gone before the copies run.
    let arrived = (0..COUNTS.len()).map(|i| upload(&sent(i)?, device)).collect::<Result<Vec<_>>>()?;
    waited_for.to_vec1::<f32>()?;
    let mut worst = 0f64;
    for (i, arrived) in arrived.iter().enumerate() {
        worst = worst.max(changed(arrived, &sent(i)?)?);
    }
    let whole = noise(&[40, 60, 70], 50)?;
    let bytes = (&whole * 100.)?.abs()?.to_dtype(DType::U8)?;
    for tensor in [whole.narrow(0, 3, 20)?, whole.transpose(0, 2)?, bytes.narrow(0, 5, 30)?] {
        worst = worst.max(changed(&upload(&tensor, device)?, &tensor)?);
    }
    Ok(worst)
}

/// Some milliseconds of work, that the copies behind it have to wait for; the first value of its result.
fn work(device: &Device) -> Result<Tensor> {
    let (size, passes) = if device.is_cpu() { (1, 1) } else { (16 << 20, 200) };
    let mut x = Tensor::ones(size, DType::F32, device)?;
    for _ in 0..passes {
        x = x.affine(0.5, 0.5)?;
    }
    x.narrow(0, 0, 1)
}

/// The share of values that are not, to the bit, what was sent; infinite where shape or dtype are not.
fn changed(arrived: &Tensor, sent: &Tensor) -> Result<f64> {
    if arrived.dims() != sent.dims() || arrived.dtype() != sent.dtype() {
        return Ok(f64::INFINITY);
    }
    let arrived = arrived.to_device(&Device::Cpu)?.flatten_all()?;
    let differs = arrived.ne(&sent.flatten_all()?)?.to_dtype(DType::F64)?;
    differs.mean_all()?.to_scalar::<f64>()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_tensor_that_another_has_overwritten_shows() -> Result<()> {
        assert_eq!(error(&Device::Cpu, |tensor, device| tensor.to_device(device))?, 0.);
        // As if a stage had been filled again before the device fetched what it held.
        let stage = RefCell::new(None::<Tensor>);
        let overwritten = |tensor: &Tensor, _: &Device| {
            let before = stage.replace(Some(tensor.clone()));
            Ok(before.filter(|before| before.dims() == tensor.dims()).unwrap_or_else(|| tensor.clone()))
        };
        assert!(error(&Device::Cpu, overwritten)? > 0.9);
        Ok(())
    }

    #[test]
    fn a_changed_value_shape_or_dtype_shows() -> Result<()> {
        let sent = noise(&[4, 5], 1)?;
        let mut values = sent.flatten_all()?.to_vec1::<f32>()?;
        values[7] = f32::NAN;
        assert_eq!(changed(&Tensor::from_vec(values, (4, 5), &Device::Cpu)?, &sent)?, 0.05);
        assert_eq!(changed(&sent.reshape((5, 4))?, &sent)?, f64::INFINITY);
        assert_eq!(changed(&sent.to_dtype(DType::F64)?, &sent)?, f64::INFINITY);
        Ok(())
    }
}
