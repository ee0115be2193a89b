use candle_core::{Device, Var};

use super::*;

const LOGITS: [[f32; 3]; 2] = [[0.5, -1.0, 2.0], [10.0, 0.25, -3.0]];

fn hard() -> Tensor {
    Tensor::new(&[2u32, 1], &Device::Cpu).unwrap()
}

fn soft(dtype: DType) -> Tensor {
    Tensor::new(&[[0.2f32, 0.3, 0.5], [0.0, 0.9, 0.1]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn loss_and_gradient(logits: &Tensor, targets: &Tensor, label_smoothing: f64) -> (f64, Vec<f64>) {
    let logits = Var::from_tensor(logits).unwrap();
    let loss = CrossEntropy { label_smoothing }.forward(&logits, targets).unwrap();
    let gradient = loss.backward().unwrap().remove(&logits).unwrap();
    let gradient = gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (loss.to_dtype(DType::F64).unwrap().to_scalar().unwrap(), gradient)
}

/// The numbers are PyTorch 2.15's:
///
/// ```python
/// import torch, torch.nn.functional as F
/// x = torch.tensor([[0.5, -1.0, 2.0], [10.0, 0.25, -3.0]], requires_grad=True)
/// y, q = torch.tensor([2, 1]), torch.tensor([[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]])
/// for e in (0.0, 0.1):
///     for t in (y, q):
///         x.grad = None; l = F.cross_entropy(x, t, label_smoothing=e); l.backward()
///         print(e, "%.9g" % l.item(), ["%.9g" % v for v in x.grad.flatten().tolist()])
/// ```
#[test]
fn equals_pytorch() {
    let cases = [
        (0.0, true, 4.99568558, [0.0876451954, 0.0195562858, -0.107201487, 0.499969721, -0.499970853, 1.13009685e-06]),
        (0.0, false, 5.75818539, [-0.0123548061, -0.130443722, 0.142798513, 0.499969721, -0.449970841, -0.049998872]),
        (0.1, true, 4.96235228, [0.0709785298, 0.00288961828, -0.0738681555, 0.48330304, -0.466637522, -0.0166655369]),
        (0.1, false, 5.64860249, [-0.0190214664, -0.132110387, 0.151131853, 0.48330304, -0.421637505, -0.0616655387]),
    ];
    for (smoothing, is_hard, want, want_gradient) in cases {
        for dtype in [DType::F32, DType::F64] {
            let logits = Tensor::new(&LOGITS, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let targets = if is_hard { hard() } else { soft(dtype) };
            let (loss, gradient) = loss_and_gradient(&logits, &targets, smoothing);
            assert!((loss - want).abs() < 2e-6, "{dtype:?}: {loss} for {want}");
            for (g, w) in gradient.iter().zip(want_gradient) {
                assert!((g - w).abs() < 2e-7, "{dtype:?} {smoothing} {is_hard}: {gradient:?} for {want_gradient:?}");
            }
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let base = Tensor::new(&LOGITS, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
    // Rows of targets that do not sum to 1 must come out right as well.
    let uneven = (soft(DType::F64) * 1.7).unwrap();
    for targets in [hard(), soft(DType::F64), uneven] {
        for smoothing in [0.0, 0.2] {
            let (_, gradient) = loss_and_gradient(&base, &targets, smoothing);
            let fast = loss_and_gradient(&base.to_dtype(DType::F32).unwrap(), &targets, smoothing).1;
            for i in 0..6 {
                let at = |h: f64| {
                    let mut v: Vec<f64> = base.flatten_all().unwrap().to_vec1().unwrap();
                    v[i] += h;
                    let x = Tensor::from_vec(v, (2, 3), &Device::Cpu).unwrap();
                    loss_and_gradient(&x, &targets, smoothing).0
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient[i] - difference).abs() < 1e-8, "{} for {difference}", gradient[i]);
                assert!((fast[i] - gradient[i]).abs() < 1e-6, "{} for {}", fast[i], gradient[i]);
            }
        }
    }
}

#[test]
fn great_logits_do_not_overflow() {
    let logits = Tensor::new(&[[1000f32, -1000.0], [-1e30, 1e30]], &Device::Cpu).unwrap();
    let (loss, gradient) = loss_and_gradient(&logits, &Tensor::new(&[0u32, 1], &Device::Cpu).unwrap(), 0.0);
    assert_eq!(loss, 0.0);
    assert!(gradient.iter().all(|g| *g == 0.0));
    let nan = Tensor::new(&[[f32::NAN, 1.0]], &Device::Cpu).unwrap();
    assert!(loss_and_gradient(&nan, &Tensor::new(&[1u32], &Device::Cpu).unwrap(), 0.0).0.is_nan());
}

#[test]
fn wrong_targets_are_refused() {
    let logits = Tensor::new(&LOGITS, &Device::Cpu).unwrap();
    let loss = CrossEntropy::default();
    let message = loss.forward(&logits, &Tensor::new(&[0u32, 3], &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(message.contains("label 3"), "{message}");
    let message = loss.forward(&logits, &Tensor::new(&[0u32], &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(message.contains("(2,)") && message.contains("[1]"), "{message}");
}

/// The numbers are timm 1.0.31's on PyTorch 2.15:
///
/// ```python
/// import torch
/// from timm.loss import BinaryCrossEntropy
/// x = torch.tensor([[0.5, -1.0, 2.0], [10.0, 0.0, -3.0]], requires_grad=True)
/// y, q = torch.tensor([2, 1]), torch.tensor([[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]])
/// for smoothing, threshold, t in [(0.0, None, y), (0.1, None, y), (0.0, None, q), (0.0, 0.2, q)]:
///     x.grad = None; l = BinaryCrossEntropy(smoothing, threshold)(x, t); l.backward()
///     print("%.9g" % l.item(), ["%.9g" % v for v in x.grad.flatten().tolist()])
/// ```
#[test]
fn binary_cross_entropy_equals_timm() {
    let x = [[0.5f32, -1.0, 2.0], [10.0, 0.0, -3.0]];
    let (plain, smooth) = (one_hot(&hard(), 3, 0.0).unwrap(), one_hot(&hard(), 3, 0.1).unwrap());
    let cases = [
        (
            &plain,
            None,
            2.02600789,
            [0.103743225, 0.044823572, -0.0198671613, 0.166659102, -0.0833333358, 0.00790431257],
        ),
        (
            &smooth,
            None,
            2.01211882,
            [0.0981876627, 0.0392680168, -0.00875605177, 0.161103532, -0.0722222254, 0.00234875642],
        ),
        (
            &soft(DType::F32),
            None,
            2.27600789,
            [0.070409894, -0.0051764301, 0.0634661689, 0.166659102, -0.0666666627, -0.00876235496],
        ),
        (
            &soft(DType::F32),
            Some(0.2),
            2.1926744,
            [0.103743225, -0.1218431, -0.0198671613, 0.166659102, -0.0833333358, 0.00790431257],
        ),
    ];
    for (targets, target_threshold, want, want_gradient) in cases {
        for dtype in [DType::F32, DType::F64] {
            let logits = Var::from_tensor(&Tensor::new(&x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()).unwrap();
            let loss = BinaryCrossEntropy { target_threshold }.forward(&logits, targets).unwrap();
            let gradient = loss.backward().unwrap().remove(&logits).unwrap().to_dtype(DType::F64).unwrap();
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let loss = loss.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
            assert!((loss - want).abs() < 1e-6, "{dtype:?}: {loss} for {want}");
            for (g, w) in gradient.iter().zip(want_gradient) {
                assert!((g - w).abs() < 2e-7, "{dtype:?}: {gradient:?} for {want_gradient:?}");
            }
        }
    }
    let great = Tensor::new(&[[1e30f32, -1e30]], &Device::Cpu).unwrap();
    let right = Tensor::new(&[[1f32, 0.0]], &Device::Cpu).unwrap();
    assert_eq!(BinaryCrossEntropy::default().forward(&great, &right).unwrap().to_scalar::<f32>().unwrap(), 0.0);
    assert!(BinaryCrossEntropy::default().forward(&great, &hard()).is_err());
}

/// timm's `mixup_target(torch.tensor([0, 1, 2]), 3, lam=0.75, smoothing=0.1)`.
#[test]
fn mixed_targets_equal_timm() {
    let labels = Tensor::new(&[0u32, 1, 2], &Device::Cpu).unwrap();
    let others = Tensor::new(&[2u32, 1, 0], &Device::Cpu).unwrap();
    let got = mixed(&labels, &others, 0.75, 3, 0.1).unwrap().to_vec2::<f32>().unwrap();
    let want = [
        [0.708_333_3, 0.033_333_3, 0.258_333_3],
        [0.033_333_3, 0.933_333_3, 0.033_333_3],
        [0.258_333_3, 0.033_333_3, 0.708_333_3],
    ];
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!((got - want).abs() < 1e-6, "{got} for {want}");
    }
}
