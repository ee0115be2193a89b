//! SGD with momentum.

use candle_core::{Result, Tensor, Var};

use crate::sgd::SgdStep;

/// Takes a step on one parameter; its first one makes the velocity, with momentum.
pub(crate) fn sgd(
    parameter: &Var,
    gradient: &Tensor,
    velocity: &mut Option<Tensor>,
    (rate, decay): (f64, f64),
    SgdStep { scale, momentum, nesterov }: SgdStep,
) -> Result<()> {
    // Out of the graph, or every step would keep the one before alive.
    let p = parameter.as_detached_tensor();
    let mut g = gradient.detach();
    if scale != 1.0 {
        g = (g * scale)?;
    }
    if decay != 0.0 {
        g = (g + (&p * decay)?)?;
    }
    let update = if momentum == 0.0 {
        g
    } else {
        let v = match velocity.take() {
            None => g.clone(),
            Some(v) => ((v * momentum)? + &g)?,
        };
        *velocity = Some(v.clone());
        if nesterov { (g + (v * momentum)?)? } else { v }
    };
    parameter.set(&(p - (update * rate)?)?)
}
