//! Weights that are kept as what they are computed from: weight norm, spectral norm, pruning masks.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, bail};

/// How a weight follows from tensors of the file, given by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Computed {
    /// `g v / |v|` (Salimans & Kingma 2016).
    WeightNorm { g: usize, v: usize },
    /// `W / (uᵀ W v)` (Miyato et al. 2018), as in evaluation.
    SpectralNorm { weight: usize, u: usize, v: usize },
    /// `W m`
    Masked { weight: usize, mask: usize },
}

/// One weight, and the tensors that it takes the place of.
#[derive(Debug)]
pub(super) struct Parametrized {
    pub name: String,
    pub computed: Computed,
}

/// Endings of the names that a weight is computed from, the first that of the tensor with the weight's shape.
const FORMS: &[[&str; 3]] = &[["_v", "_g", ""], ["_orig", "_mask", ""], ["_orig", "_u", "_v"]];

/// The weights that are computed, where all that they need is there. `names` lead to places.
pub(super) fn find(names: &BTreeMap<&str, usize>) -> Vec<Parametrized> {
    let mut found = Vec::new();
    let place = |name: String| names.get(name.as_str()).copied();
    for (&name, &at) in names {
        for [main, second, third] in FORMS {
            // `X.weight_orig` and its like; of any parameter.
            let Some(stem) = name.strip_suffix(main).filter(|stem| stem.ends_with("weight") || stem.ends_with("bias"))
            else {
                continue;
            };
            let Some(other) = place(format!("{stem}{second}")) else { continue };
            let computed = match (*second, place(format!("{stem}{third}"))) {
                ("_g", _) => Computed::WeightNorm { g: other, v: at },
                ("_mask", _) => Computed::Masked { weight: at, mask: other },
                (_, Some(v)) => Computed::SpectralNorm { weight: at, u: other, v },
                _ => continue,
            };
            found.push(Parametrized { name: stem.to_owned(), computed });
            break;
        }
        // `X.parametrizations.weight.original0`, which is the norm, and `original1`, the direction.
        if let Some((module, rest)) = name.split_once("parametrizations.")
            && let Some((parameter, "original1")) = rest.split_once('.')
            && let Some(g) = place(format!("{module}parametrizations.{parameter}.original0"))
        {
            let computed = Computed::WeightNorm { g, v: at };
            found.push(Parametrized { name: format!("{module}{parameter}"), computed });
        }
        if let Some((module, rest)) = name.split_once("parametrizations.")
            && let Some((parameter, "original")) = rest.split_once('.')
        {
            let of = |name: &str| place(format!("{module}parametrizations.{parameter}.0.{name}"));
            if let (Some(u), Some(v)) = (of("_u"), of("_v")) {
                let computed = Computed::SpectralNorm { weight: at, u, v };
                found.push(Parametrized { name: format!("{module}{parameter}"), computed });
            }
        }
    }
    found
}

impl Computed {
    /// The tensors that it takes.
    pub fn parts(self) -> Vec<usize> {
        match self {
            Self::WeightNorm { g, v } => vec![g, v],
            Self::SpectralNorm { weight, u, v } => vec![weight, u, v],
            Self::Masked { weight, mask } => vec![weight, mask],
        }
    }

    /// The place of the tensor that has the weight's shape.
    pub fn shaped(self) -> usize {
        match self {
            Self::WeightNorm { v, .. } => v,
            Self::SpectralNorm { weight, .. } | Self::Masked { weight, .. } => weight,
        }
    }

    /// The weight, of its parts in the order of [`Self::parts`].
    ///
    /// # Errors
    /// If their shapes do not go together.
    pub fn value(self, parts: &[Tensor]) -> Result<Tensor> {
        match (self, parts) {
            (Self::WeightNorm { .. }, [g, v]) => {
                let (g, v) = (g.to_dtype(DType::F32)?, v.to_dtype(DType::F32)?);
                // The norm is over all axes but those that `g` has.
                let over: Vec<usize> = match g.rank() {
                    0 => (0..v.rank()).collect(),
                    rank if rank == v.rank() => (0..rank).filter(|&axis| g.dims()[axis] == 1).collect(),
                    _ => bail!("its norm has shape {:?}, its direction {:?}", g.dims(), v.dims()),
                };
                let norm = v.sqr()?.sum_keepdim(over)?.sqrt()?;
                v.broadcast_mul(&g.broadcast_div(&norm)?)
            }
            (Self::SpectralNorm { .. }, [weight, u, v]) => {
                let weight = weight.to_dtype(DType::F32)?;
                let rows = weight.dims().first().copied().unwrap_or(0);
                let matrix = weight.reshape((rows, ()))?;
                let (u, v) = (u.to_dtype(DType::F32)?.flatten_all()?, v.to_dtype(DType::F32)?.flatten_all()?);
                if (u.elem_count(), v.elem_count()) != (rows, matrix.dim(1)?) {
                    bail!("its vectors of {} and {} values do not go with it", u.elem_count(), v.elem_count());
                }
                let sigma = matrix.matmul(&v.unsqueeze(1)?)?.flatten_all()?.mul(&u)?.sum_all()?;
                weight.broadcast_div(&sigma)
            }
            (Self::Masked { .. }, [weight, mask]) => weight.mul(&mask.to_dtype(weight.dtype())?),
            _ => bail!("it lacks a part"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_their_names() {
        let of = |names: &[&'static str]| {
            let names: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
            find(&names).into_iter().map(|found| (found.name, found.computed)).collect::<Vec<_>>()
        };
        assert_eq!(of(&["a.weight_g", "a.weight_v"]), [("a.weight".into(), Computed::WeightNorm { g: 0, v: 1 })]);
        assert_eq!(
            of(&["a.weight_orig", "a.weight_u", "a.weight_v"]),
            [("a.weight".into(), Computed::SpectralNorm { weight: 0, u: 1, v: 2 })]
        );
        assert_eq!(of(&["weight_mask", "weight_orig"]), [("weight".into(), Computed::Masked { weight: 1, mask: 0 })]);
        assert_eq!(
            of(&["a.parametrizations.weight.original0", "a.parametrizations.weight.original1"]),
            [("a.weight".into(), Computed::WeightNorm { g: 0, v: 1 })]
        );
        assert_eq!(
            of(&[
                "p.parametrizations.weight.original",
                "p.parametrizations.weight.0._u",
                "p.parametrizations.weight.0._v"
            ]),
            [("p.weight".into(), Computed::SpectralNorm { weight: 0, u: 1, v: 2 })]
        );
        assert!(of(&["weight_orig", "weight"]).is_empty());
    }
}
