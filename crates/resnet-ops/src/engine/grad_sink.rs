//! Gradients of parameters that reach their place without candle's sums.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

thread_local! {
    /// The parameters and gradients that the [`backward`] which this thread runs has got so far.
    static GRAD_SINK: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// The gradients of a scalar (or of the sum of a tensor's values), as [`Tensor::backward`] gives them.
///
/// candle adds each gradient into zeros that it makes for it: three passes over all weights in which nothing is computed,
/// on CUDA devices three launches a parameter. Here the gradients of the engines' parameters are put where they belong as
/// they are.
///
/// # Errors
/// As [`Tensor::backward`].
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    struct Collecting;
    impl Drop for Collecting {
        fn drop(&mut self) {
            GRAD_SINK.set(None);
        }
    }
    GRAD_SINK.set(Some(Vec::new()));
    let _collecting = Collecting;
    let mut store = loss.backward()?;
    let sunk = GRAD_SINK.take().unwrap_or_default();
    for (parameter, gradient) in sunk {
        // A parameter may stand in several places, of the engine and outside it.
        let gradient = match store.remove(&parameter) {
            Some(other) => (other + gradient)?.detach(),
            None => gradient,
        };
        store.insert(&parameter, gradient);
    }
    Ok(store)
}

/// Takes a parameter's gradient if [`backward`] waits for it; otherwise gives it back, for candle.
pub(crate) fn sink(parameter: &Tensor, gradient: Tensor) -> Option<Tensor> {
    GRAD_SINK.with_borrow_mut(|sunk| match sunk {
        // What was computed from variables passes its gradient on.
        Some(sunk) if parameter.is_variable() => {
            sunk.push((parameter.clone(), gradient));
            None
        }
        _ => Some(gradient),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use super::backward;
    use crate::{ConvConfig, conv2d};

    /// A weight that two convolutions and an operation of candle's share, and one that is no variable itself.
    #[test]
    fn gives_the_gradients_of_candles_backward() -> candle_core::Result<()> {
        let device = Device::Cpu;
        let x = Tensor::arange(0f32, 72., &device)?.reshape((1, 2, 6, 6))?;
        let shared = Var::from_tensor(&(Tensor::arange(0f32, 36., &device)?.reshape((2, 2, 3, 3))? / 36.)?)?;
        let inner = Var::ones((2, 2, 1, 1), DType::F32, &device)?;
        let config = ConvConfig { padding: (1, 1), ..ConvConfig::default() };
        let loss = || -> candle_core::Result<Tensor> {
            let once = conv2d(&x, &shared, None, &config)?;
            let twice = conv2d(&once, &shared, None, &config)?;
            let last = conv2d(&twice, &(inner.as_tensor() * 3.)?, None, &ConvConfig::default())?;
            last.mean_all()? + shared.sqr()?.sum_all()?
        };
        let (expected, found) = (loss()?.backward()?, backward(&loss()?)?);
        for var in [&shared, &inner] {
            let values = |store: &candle_core::backprop::GradStore| {
                store.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            for (a, b) in values(&expected).iter().zip(values(&found)) {
                assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} {b}");
            }
        }
        Ok(())
    }
}
