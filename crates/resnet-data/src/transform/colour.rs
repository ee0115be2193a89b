//! Shifts along the principal components of ImageNet's colours.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// What fb.resnet.torch calls the eigenvalues of the covariance of ImageNet's RGB values, in units of 255. Krizhevsky
/// et al. 2012 describe the shift and give no numbers.
const SPREAD: [f64; 3] = [0.2175, 0.0188, 0.0045];
/// The eigenvectors: a row a colour, a column a component.
const COMPONENTS: [[f64; 3]; 3] = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];

/// What is added to red, green and blue of an image, in units of 255, for lengths `alpha` along the components.
pub(super) fn shift(alpha: [f64; 3]) -> [f32; 3] {
    COMPONENTS.map(|row| (0..3).map(|i| row[i] * alpha[i] * SPREAD[i]).sum::<f64>() as f32)
}

/// Lengths drawn from a normal distribution of this deviation.
pub(super) fn lengths(deviation: f64, rng: &mut impl Rng) -> [f64; 3] {
    std::array::from_fn(|_| {
        let drawn: f64 = StandardNormal.sample(rng);
        drawn * deviation
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.array(eigenvectors) @ (alpha * eigenvalues)` of NumPy 2 with fb.resnet.torch's constants.
    #[test]
    fn shifts_are_the_published_ones() {
        let want = [[-0.01179336, -0.01238022, -0.01347881], [0.03837786, 0.03789607, 0.03676989]];
        for (alpha, want) in [[0.1, 0.05, -0.07], [-0.3, 0.1, -0.002]].into_iter().zip(want) {
            for (got, want) in shift(alpha).into_iter().zip(want) {
                assert!((got - want).abs() < 1e-7, "{:?} for {want}", shift(alpha));
            }
        }
    }
}
