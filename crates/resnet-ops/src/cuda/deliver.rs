//! Gradients of the engine's parameters that reach their place without candle's sums.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

thread_local! {
    /// The parameters and gradients that the [`backward`] which this thread runs has got so far.
    static DELIVERED: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// The gradients of a scalar (or of the sum of a tensor's values), as [`Tensor::backward`] gives them.
///
/// candle adds each gradient into zeros that it makes for it: three launches a parameter, and three passes over all
/// weights in which nothing is computed. Here the gradients of the engines' parameters are put where they belong as they
/// are, on CUDA devices and on the CPU.
///
/// # Errors
/// As [`Tensor::backward`].
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    struct Collecting;
    impl Drop for Collecting {
        fn drop(&mut self) {
            DELIVERED.set(None);
        }
    }
    DELIVERED.set(Some(Vec::new()));
    let _collecting = Collecting;
    let mut store = crate::cpu::backward(loss)?;
    for (parameter, gradient) in DELIVERED.take().unwrap_or_default() {
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
pub(super) fn deliver(parameter: &Tensor, gradient: Tensor) -> Option<Tensor> {
    DELIVERED.with_borrow_mut(|delivered| match delivered {
        // What was computed from variables passes its gradient on.
        Some(delivered) if parameter.is_variable() => {
            delivered.push((parameter.clone(), gradient));
            None
        }
        _ => Some(gradient),
    })
}
