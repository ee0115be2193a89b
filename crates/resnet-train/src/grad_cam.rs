//! Grad-CAM: where in an image a network sees a class (Selvaraju et al. 2017, section 3, equations 1 and 2).

use candle_core::{Tensor, Var};
use resnet_models::Network;

use crate::{Error, Result};

/// What of an image speaks for a class, at the places of the network's last maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 0 to 1, (row, column); all 0 where nothing speaks for the class.
    pub values: Vec<f32>,
}

/// The heat of one class an image: for images f32 (N, 3, H, W), normalised, and a class each.
///
/// The last block's maps are weighted by the mean gradient of the class's logit, added up, and cut at 0.
///
/// # Errors
/// When the images do not fit the network, or a class is not below its number of classes.
pub fn grad_cam(network: &Network, images: &Tensor, classes: &[u32]) -> Result<Vec<Heat>> {
    let graph = network.graph();
    let last = network.blocks().last().map_or(network.stem(), |(_, output)| *output);
    let maps = graph.subgraph_to(last).forward_t(images, false)?.detach();
    // Every logit depends on its own image alone, so that one backward pass serves them all.
    let leaf = Var::from_tensor(&maps)?;
    let logits = graph.subgraph(last, graph.output())?.forward_with_fixed_norms(leaf.as_tensor())?;
    let (count, width) = logits.dims2()?;
    if classes.len() != count || classes.iter().any(|&class| class as usize >= width) {
        return Err(Error::Invalid(format!("{count} images want a class below {width} each, got {classes:?}")));
    }
    let chosen = Tensor::new(classes, logits.device())?.unsqueeze(1)?;
    let gradients = logits.gather(&chosen, 1)?.sum_all()?.backward()?;
    let Some(gradient) = gradients.get(leaf.as_tensor()) else {
        return Err(Error::Invalid("the logits do not depend on the last maps".into()));
    };
    let weights = gradient.mean_keepdim((2, 3))?;
    let heat = maps.broadcast_mul(&weights)?.sum(1)?.relu()?;
    let (_, height, width) = heat.dims3()?;
    let rows = heat.flatten_from(1)?.to_vec2::<f32>()?;
    Ok(rows.into_iter().map(|values| Heat { height, width, values: scaled(values) }).collect())
}

/// The greatest value made 1.
fn scaled(mut values: Vec<f32>) -> Vec<f32> {
    let greatest = values.iter().copied().fold(0.0, f32::max);
    if greatest > 0.0 {
        values.iter_mut().for_each(|value| *value /= greatest);
    }
    values
}

impl Heat {
    /// The heat at a place of a picture of another size, bilinear.
    pub fn at(&self, row: f32, column: f32, height: usize, width: usize) -> f32 {
        let place = |at: f32, from: usize, to: usize| {
            let x = ((at + 0.5) * to as f32 / from as f32 - 0.5).clamp(0.0, (to - 1) as f32);
            (x as usize, (x as usize + 1).min(to - 1), x.fract())
        };
        let (top, bottom, down) = place(row, height, self.height);
        let (left, right, across) = place(column, width, self.width);
        let value = |row: usize, column: usize| self.values[row * self.width + column];
        let upper = value(top, left) * (1.0 - across) + value(top, right) * across;
        let lower = value(bottom, left) * (1.0 - across) + value(bottom, right) * across;
        upper * (1.0 - down) + lower * down
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use resnet_models::{Parameters, create};

    use super::*;

    #[test]
    fn heat_is_between_zero_and_one_and_each_images_own() {
        let parameters = Parameters::new(5, DType::F32, &Device::Cpu);
        let network = create("resnet20", parameters.builder(), Some(3)).unwrap();
        let values: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| ((i * i % 97) as f32 - 48.0) / 30.0).collect();
        let images = Tensor::from_vec(values, (2, 3, 32, 32), &Device::Cpu).unwrap();
        let both = grad_cam(&network, &images, &[0, 2]).unwrap();
        let alone = grad_cam(&network, &images.narrow(0, 1, 1).unwrap(), &[2]).unwrap();
        assert_eq!((both[1].height, both[1].width, both[1].values.len()), (8, 8, 64));
        assert!(both[1].values.iter().zip(&alone[0].values).all(|(a, b)| (a - b).abs() < 1e-4));
        for heat in &both {
            assert!(heat.values.iter().all(|value| (0.0..=1.0).contains(value)));
            assert!(heat.values.contains(&1.0));
        }
        assert!(grad_cam(&network, &images, &[0, 3]).is_err());
        assert!(grad_cam(&network, &images, &[0]).is_err());
    }

    #[test]
    fn corners_keep_their_values_in_a_larger_picture() {
        let heat = Heat { height: 2, width: 2, values: vec![0.0, 1.0, 0.5, 0.25] };
        assert_eq!((heat.at(0.0, 0.0, 8, 8), heat.at(0.0, 7.0, 8, 8), heat.at(7.0, 0.0, 8, 8)), (0.0, 1.0, 0.5));
        assert!((heat.at(3.5, 3.5, 8, 8) - 0.4375).abs() < 1e-6);
    }
}
