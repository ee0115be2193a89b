//! Norms and biases that a file has in another form: convolutions with biases, norms folded away, norms without scales.

use std::collections::BTreeMap;

/// Where a tensor of the network comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Made {
    /// A tensor of the file.
    Of(usize),
    /// So many values alike.
    Constant(f64, usize),
    /// The first minus the second.
    Less(usize, usize),
}

/// ε of the norms, which their square root adds.
const EPS: f64 = 1e-5;

/// Gives a network of torchvision's names the norms that it lacks, where its convolutions say what they were; `shape` is
/// that of a place. What was done is told.
pub(super) fn complete<'a>(names: &mut BTreeMap<String, Made>, shape: impl Fn(usize) -> &'a [usize]) -> Vec<String> {
    let mut said = Vec::new();
    let place = |names: &BTreeMap<String, Made>, name: &str| match names.get(name) {
        Some(Made::Of(place)) => Some(*place),
        _ => None,
    };
    let biased: Vec<(String, usize)> = names
        .iter()
        .filter_map(|(name, made)| {
            let conv = name.strip_suffix(".bias")?;
            let weight = place(names, &format!("{conv}.weight"))?;
            (shape(weight).len() == 4 && norm_of(conv).is_some()).then_some(match made {
                Made::Of(bias) => Some((conv.to_owned(), *bias)),
                _ => None,
            })?
        })
        .collect();
    // In networks that begin with a norm a convolution's own norm stands before it.
    let follows = |names: &BTreeMap<String, Made>| {
        let outputs =
            ["conv1.weight", "conv1.6.weight"].iter().find_map(|name| place(names, name)).map(|w| shape(w)[0]);
        match names.get("bn1.weight").or(names.get("bn1.running_mean")) {
            Some(Made::Of(norm)) => outputs.is_some_and(|outputs| shape(*norm) == [outputs]),
            _ => !names.keys().any(|name| name.contains(".bn1.")),
        }
    };
    if !follows(names) {
        return said;
    }
    let (mut into_means, mut folded) = (0, 0);
    for (conv, bias) in biased {
        let (Some(norm), &[channels]) = (norm_of(&conv), shape(bias)) else { continue };
        let own = |leaf: &str| format!("{norm}.{leaf}");
        match place(names, &own("running_mean")) {
            Some(mean) if shape(mean) == [channels] => {
                names.insert(own("running_mean"), Made::Less(mean, bias));
                into_means += 1;
            }
            None if !names.keys().any(|name| name.starts_with(&own(""))) => {
                names.insert(own("weight"), Made::Constant(1.0, channels));
                names.insert(own("bias"), Made::Of(bias));
                names.insert(own("running_mean"), Made::Constant(0.0, channels));
                names.insert(own("running_var"), Made::Constant(1.0 - EPS, channels));
                folded += 1;
            }
            _ => continue,
        }
        names.remove(&format!("{conv}.bias"));
    }
    if into_means > 0 {
        said.push(format!("{into_means} biases of convolutions went into the means of the norms behind them"));
    }
    if folded > 0 {
        said.push(format!("{folded} norms are folded into their convolutions: norms that change nothing stand in"));
    }
    let bare: Vec<(String, usize)> = names
        .iter()
        .filter_map(|(name, made)| {
            let norm = name.strip_suffix(".running_var")?;
            let Made::Of(place) = made else { return None };
            let has = |leaf: &str| names.contains_key(&format!("{norm}.{leaf}"));
            (!has("weight") && !has("bias")).then(|| (norm.to_owned(), shape(*place).first().copied().unwrap_or(0)))
        })
        .collect();
    if !bare.is_empty() {
        said.push(format!("{} norms have no scale and shift (affine=False): 1 and 0 stand in", bare.len()));
    }
    for (norm, channels) in bare {
        names.insert(format!("{norm}.weight"), Made::Constant(1.0, channels));
        names.insert(format!("{norm}.bias"), Made::Constant(0.0, channels));
    }
    said
}

/// The norm behind a convolution of torchvision's networks.
fn norm_of(conv: &str) -> Option<String> {
    let (path, last) = match conv.rsplit_once('.') {
        Some((path, last)) => (format!("{path}."), last),
        None => (String::new(), conv),
    };
    if let Some(number) = last.strip_prefix("conv") {
        return Some(format!("{path}bn{number}"));
    }
    let number: usize = last.parse().ok()?;
    if path == "conv1." {
        return Some(if number == 6 { "bn1".into() } else { format!("conv1.{}", number + 1) });
    }
    path.ends_with("downsample.").then(|| format!("{path}{}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_behind_convolutions() {
        for (conv, norm) in [
            ("conv1", "bn1"),
            ("conv1.3", "conv1.4"),
            ("conv1.6", "bn1"),
            ("layer1.0.conv2", "layer1.0.bn2"),
            ("layer1.0.downsample.0", "layer1.0.downsample.1"),
        ] {
            assert_eq!(norm_of(conv).as_deref(), Some(norm));
        }
        assert_eq!((norm_of("fc"), norm_of("layer1.0.se.fc1")), (None, None));
    }

    #[test]
    fn biases_go_into_means_and_folded_norms_come_back() {
        let shapes: [&[usize]; 5] = [&[4, 3, 3, 3], &[4], &[4], &[4, 4, 3, 3], &[4]];
        let of = |names: &[(&str, usize)]| {
            let mut names: BTreeMap<String, Made> =
                names.iter().map(|(n, i)| ((*n).to_owned(), Made::Of(*i))).collect();
            let said = complete(&mut names, |place| shapes[place]);
            (names, said.len())
        };
        let (names, said) = of(&[("conv1.weight", 0), ("conv1.bias", 1), ("bn1.weight", 2), ("bn1.running_mean", 4)]);
        assert_eq!((names["bn1.running_mean"], said), (Made::Less(4, 1), 1));
        assert!(!names.contains_key("conv1.bias"));
        let (names, _) =
            of(&[("conv1.weight", 0), ("conv1.bias", 1), ("layer1.0.conv1.weight", 3), ("layer1.0.conv1.bias", 4)]);
        assert_eq!((names["layer1.0.bn1.weight"], names["layer1.0.bn1.bias"]), (Made::Constant(1.0, 4), Made::Of(4)));
        // The norm of a network that begins with it: not behind the convolution.
        let (names, said) = of(&[
            ("conv1.weight", 0),
            ("layer1.0.bn1.running_mean", 2),
            ("layer1.0.conv1.weight", 3),
            ("layer1.0.conv1.bias", 4),
        ]);
        assert!(names.contains_key("layer1.0.conv1.bias") && said == 0);
    }
}
