//! Pictures under which lies what spoke for the class that was given.

use super::{ReportError, escape, pictures, push};
use crate::grad_cam::Heat;

/// An image as the network saw it, and where it looked.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatPicture {
    /// The image's index in its data set.
    pub index: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// `height * width * 3` bytes, (H, W, RGB).
    pub pixels: Vec<u8>,
    /// What spoke for the predicted class.
    pub heat: Heat,
    /// The true class's name.
    pub truth: String,
    /// The predicted class's name.
    pub predicted: String,
}

/// The section with all of them, in the order given.
pub(super) fn render(images: &[HeatPicture]) -> Result<String, ReportError> {
    let mut out = String::from(
        "<section>\n<h2>Where the network looked</h2>\n<p class=\"note\">Grad-CAM: the warmer a place, the more it spoke \
         for the class that the network gave. Right answers in green; of wrong ones the true class stands below.</p>\n\
         <div class=\"errors\">\n",
    );
    for image in images {
        let (truth, predicted) = (escape(&image.truth), escape(&image.predicted));
        let plain = pictures::data_url(image.index, image.height, image.width, &image.pixels)?;
        let warm = pictures::data_url(image.index, image.height, image.width, &overlay(image))?;
        let answer = if image.truth == image.predicted {
            format!("<span class=\"right\"><b>{predicted}</b></span>")
        } else {
            format!("<span class=\"wrong\"><b>{predicted}</b></span> <span class=\"right\">{truth}</span>")
        };
        push(
            &mut out,
            format_args!(
                "<figure><img src=\"{plain}\" alt=\"image {index}: {truth}\" title=\"image {index}\">\
                 <img src=\"{warm}\" alt=\"heat of {predicted}\"><figcaption>{answer}</figcaption></figure>\n",
                index = image.index,
            ),
        );
    }
    out.push_str("</div>\n</section>\n");
    Ok(out)
}

/// The picture in grey, coloured by the heat.
fn overlay(image: &HeatPicture) -> Vec<u8> {
    let mut out = Vec::with_capacity(image.pixels.len());
    for (place, pixel) in image.pixels.chunks_exact(3).enumerate() {
        let (row, column) = ((place / image.width) as f32, (place % image.width) as f32);
        let heat = image.heat.at(row, column, image.height, image.width);
        let grey = pixel.iter().map(|&byte| f32::from(byte)).sum::<f32>() / 3.0;
        let share = 0.25 + 0.4 * heat;
        out.extend(colour(heat).map(|value| (grey * (1.0 - share) + value * share).round() as u8));
    }
    out
}

/// Blue over green and yellow to red.
fn colour(heat: f32) -> [f32; 3] {
    const STOPS: [[f32; 3]; 5] =
        [[30.0, 40.0, 160.0], [20.0, 140.0, 190.0], [70.0, 190.0, 90.0], [245.0, 210.0, 50.0], [220.0, 40.0, 30.0]];
    let at = heat.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let low = (at as usize).min(STOPS.len() - 2);
    let share = at - low as f32;
    std::array::from_fn(|c| STOPS[low][c] * (1.0 - share) + STOPS[low + 1][c] * share)
}
