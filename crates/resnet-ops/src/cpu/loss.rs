//! Cross-entropy as one operation on the CPU: f32 in and out, sums in f64.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

/// (logits (N, C) f32, targets (N,) u32 or (N, C) f32) -> mean loss, a scalar.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f32) -> Result<Tensor> {
    logits.contiguous()?.apply_op2(&targets.contiguous()?, CrossEntropyOp { smoothing })
}

#[derive(Debug, Clone, Copy)]
struct CrossEntropyOp {
    smoothing: f32,
}

/// Labels, or rows of probabilities.
enum Targets<'a> {
    Hard(&'a [u32]),
    Soft(&'a [f32]),
}

fn f32s<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(v), Some((start, end))) => Ok(&v[start..end]),
        _ => bail!("cross-entropy: wants contiguous f32 tensors"),
    }
}

fn targets<'a>(storage: &'a CpuStorage, layout: &Layout, n: usize, c: usize) -> Result<Targets<'a>> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::U32(v), Some((start, end))) if end - start == n => {
            let labels = &v[start..end];
            if labels.iter().any(|&l| l as usize >= c) {
                bail!("cross-entropy: a label is not below {c}, the number of classes");
            }
            Ok(Targets::Hard(labels))
        }
        (CpuStorage::F32(v), Some((start, end))) if end - start == n * c => Ok(Targets::Soft(&v[start..end])),
        _ => bail!("cross-entropy: wants contiguous targets: labels of u32 or probabilities of f32"),
    }
}

/// The greatest value and the sum of the exponentials of the differences to it.
fn max_and_sum(row: &[f32]) -> (f32, f64) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (max, row.iter().map(|&x| f64::from((x - max).exp())).sum())
}

impl CrossEntropyOp {
    /// The loss of one image, `log_sum * sum(q) - sum(q * x)`; the smoothed target may not sum to 1.
    fn row(&self, x: &[f32], hard: Option<usize>, soft: &[f32]) -> f64 {
        let (max, sum) = max_and_sum(x);
        let log_sum = sum.ln();
        let log_p = |x: f32| f64::from(x - max) - log_sum;
        let on_target: f64 = match hard {
            Some(label) => log_p(x[label]),
            // A class without probability adds nothing, be its logit -inf.
            None => x.iter().zip(soft).filter(|&(_, &q)| q != 0.0).map(|(&x, &q)| f64::from(q) * log_p(x)).sum(),
        };
        let s = f64::from(self.smoothing);
        let mut loss = (s - 1.0) * on_target;
        if s != 0.0 {
            loss -= s / x.len() as f64 * x.iter().map(|&x| log_p(x)).sum::<f64>();
        }
        loss
    }
}

impl CustomOp2 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c) = l1.shape().dims2()?;
        let x = f32s(s1, l1)?;
        let targets = targets(s2, l2, n, c)?;
        let mut sum = 0f64;
        for (i, x) in x.chunks_exact(c).enumerate() {
            sum += match targets {
                Targets::Hard(labels) => self.row(x, Some(labels[i] as usize), &[]),
                Targets::Soft(q) => self.row(x, None, &q[i * c..(i + 1) * c]),
            };
        }
        Ok((CpuStorage::F32(vec![(sum / n as f64) as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // Targets are given, not learnt: they get no gradient.
        Ok((Some(logits.apply_op3_no_bwd(targets, grad, self)?), None))
    }
}

/// The gradient: (logits, targets, gradient of the loss) -> (N, C).
impl CustomOp3 for CrossEntropyOp {
    fn name(&self) -> &'static str {
        "cross-entropy-backward"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, c) = l1.shape().dims2()?;
        let x = f32s(s1, l1)?;
        let targets = targets(s2, l2, n, c)?;
        let Some(&grad) = f32s(s3, l3)?.first() else { bail!("cross-entropy: no gradient") };
        let scale = grad / n as f32;
        let even = self.smoothing / c as f32;
        let mut out = vec![0f32; x.len()];
        for (i, (x, out)) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)).enumerate() {
            let (max, sum) = max_and_sum(x);
            let inverse = (1.0 / sum) as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = (x - max).exp() * inverse;
            }
            match targets {
                Targets::Hard(labels) => {
                    out.iter_mut().for_each(|o| *o = (*o - even) * scale);
                    out[labels[i] as usize] -= (1.0 - self.smoothing) * scale;
                }
                Targets::Soft(q) => {
                    let q = &q[i * c..(i + 1) * c];
                    // Rows that do not sum to 1 are allowed, as in PyTorch: the softmax counts that often.
                    let total = (1.0 - self.smoothing) * q.iter().sum::<f32>() + self.smoothing;
                    for (o, q) in out.iter_mut().zip(q) {
                        *o = (*o * total - (1.0 - self.smoothing) * q - even) * scale;
                    }
                }
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((n, c))))
    }
}
