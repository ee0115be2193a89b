//! A network and the weights of a file put together: which of the file's networks it is, and what its shapes say that its
//! name does not.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result as CandleResult, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::hub::NewHead;
use crate::weights::{self, AssignOptions, Checkpoint, Found, Head, LoadOptions, WeightsError, WeightsFile};
use crate::{Config, Error, Network, Parameters, Stem};

/// Parameters' names and shapes, in the order of their making.
type Shapes = Vec<(String, Vec<usize>)>;

/// Remembers what is asked for and gives nothing that takes memory.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Shapes>>);

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> CandleResult<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), shape.dims().to_vec()));
        // One value, seen as many.
        Tensor::zeros(1, dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> CandleResult<Tensor> {
        candle_core::bail!("parameter {name} has no shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

/// Names and shapes of a network's parameters, without its head, the first convolution's first.
pub(crate) fn shapes(config: &Config) -> Result<Shapes, Error> {
    config.check()?;
    let recorder = Recorder::default();
    let builder = VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu);
    Network::new(&config.clone().with_classes(0), builder)?;
    let shapes = std::mem::take(&mut *recorder.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(shapes)
}

/// A network with the weights of a file, and what was read of them.
pub(crate) struct Fitted {
    pub network: Network,
    pub parameters: Parameters,
    pub checkpoint: Checkpoint,
    /// What the shapes said that the name did not, and what was left alone or converted.
    pub notes: Vec<String>,
}

/// The network of that configuration with its weights from the file, or with a new head.
///
/// # Errors
/// Where the configuration makes no sense or the file's weights are of another network.
pub(crate) fn fit(
    mut config: Config,
    file: &WeightsFile,
    options: &LoadOptions,
    new_head: Option<NewHead>,
    device: &Device,
) -> Result<Fitted, Error> {
    config.check()?;
    let (least, values) = (config.least_values(), file.values());
    if least.is_none_or(|least| least > values) {
        return Err(too_large(&config, file, options, (least, values)));
    }
    let wanted = shapes(&config)?;
    let found = file.find(options, Some(&wanted))?;
    if let Some(what) = &found.foreign {
        return Err(Error::Foreign { file: file.file.clone(), what: what.clone() });
    }
    let mut notes = Vec::new();
    if let Some((first, shape)) = wanted.first() {
        recognise(&mut config, file.shape(&found, first), shape, &mut notes);
    }
    let parameters = match new_head {
        Some(head) => Parameters::new(head.seed, DType::F32, device),
        None => Parameters::zeros(DType::F32, device),
    };
    let own_classes = match &found.head {
        Head::One(linear) => Some(linear.classes),
        // Not a network that was recognised: as its names say.
        _ if !found.recognised => {
            file.shape(&found, &format!("{}.weight", config.head())).and_then(|shape| shape.first().copied())
        }
        _ => None,
    };
    config = match (new_head, own_classes) {
        (Some(head), _) => config.with_classes(head.classes),
        (None, classes) => config.with_classes(classes.unwrap_or(0)),
    };
    if new_head.is_some() && config.classes == 0 {
        return Err(Error::NoClasses);
    }
    let network = Network::new(&config, parameters.builder())?;
    if let Some(what) = weights::compare_settings(&found.settings, network.graph(), &config.name) {
        return Err(Error::Foreign { file: file.file.clone(), what });
    }
    let mut checkpoint = file.read(found)?;
    let head = format!("{}.", config.head());
    let except = match new_head {
        Some(_) => vec![head],
        None => {
            shape_head(&mut checkpoint, &parameters, &format!("{head}weight"))?;
            Vec::new()
        }
    };
    let assigned = weights::assign(&checkpoint, &parameters.named(), &AssignOptions { except, ..Default::default() });
    assigned.map_err(|error| match error {
        WeightsError::Mismatch(mismatch) => Error::OtherNetwork { mismatch, fitting: fitting(file, options) },
        other => other.into(),
    })?;
    notes.extend(checkpoint.remarks());
    Ok(Fitted { network, parameters, checkpoint, notes })
}

/// More than the file holds: another network's weights, in names if those tell more.
fn too_large(
    config: &Config,
    file: &WeightsFile,
    options: &LoadOptions,
    (least, values): (Option<u128>, u128),
) -> Error {
    let foreign = file.find(options, None).map(|found| found.foreign);
    match foreign {
        Ok(Some(what)) => return Error::Foreign { file: file.file.clone(), what },
        Err(error) => return error.into(),
        Ok(None) => {}
    }
    let checkpoint = match file.find(options, None).and_then(|found| file.read(found)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return error.into(),
    };
    let fitting = fitting(file, options);
    // A network of the registry was asked for by name: what differs is told by the names that are missing.
    if least.is_some_and(|least| least < 1 << 32)
        && crate::config(&config.name).is_ok_and(|own| own.widths == config.widths)
        && let Ok(wanted) = shapes(config)
    {
        let mismatch = weights::compare(&checkpoint, &wanted);
        return Error::OtherNetwork { mismatch: Box::new(mismatch), fitting };
    }
    Error::TooLarge { file: file.file.clone(), least, values }
}

/// What the shape of the first convolution says: other numbers of channels, and the stem of the CIFAR form.
fn recognise(config: &mut Config, found: Option<Vec<usize>>, expected: &[usize], notes: &mut Vec<String>) {
    let (Some(&[outputs, inputs, rows, columns]), &[own_outputs, _, own_rows, _]) = (found.as_deref(), expected) else {
        return;
    };
    if outputs != own_outputs || inputs == 0 || inputs > 4096 {
        return;
    }
    if config.stem == Stem::ImageNet && (rows, columns) == (3, 3) && own_rows == 7 {
        let name = config.name.clone();
        *config = config.clone().with_cifar_stem();
        notes.push(format!(
            "the first convolution is 3x3: {name} is taken in its CIFAR form (stride 1, no pooling, images of 32x32); \
             weights trained with another stride or with a pooling look the same"
        ));
    }
    if inputs != config.in_chans {
        config.in_chans = inputs;
        notes.push(format!("the first convolution takes {inputs} channel{}", if inputs == 1 { "" } else { "s" }));
    }
}

/// A linear layer and a 1×1 convolution have the same values.
fn shape_head(checkpoint: &mut Checkpoint, parameters: &Parameters, name: &str) -> Result<(), Error> {
    if let (Some(tensor), Some(var)) = (checkpoint.tensors.get_mut(name), parameters.get(name)) {
        let without = |dims: &[usize]| dims.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
        if tensor.dims() != var.dims() && without(tensor.dims()) == without(var.dims()) {
            *tensor = tensor.reshape(var.shape())?;
        }
    }
    Ok(())
}

/// The networks that weights fit by names and shapes.
pub(crate) fn fitting(file: &WeightsFile, options: &LoadOptions) -> Vec<&'static str> {
    let values = file.values();
    let Ok(likeliest) = file.find(options, None) else { return Vec::new() };
    if !likeliest.recognised {
        return Vec::new();
    }
    let fits = |arch: &&str| {
        // Making all networks takes long: their sizes and the last block rule most of them out.
        let config =
            crate::config(arch).ok().filter(|config| config.least_values().is_some_and(|least| least <= values));
        config.is_some_and(|config| {
            let last = config.block_configs().pop().is_some_and(|(last, _)| likeliest.has_below(&format!("{last}.")));
            last && shapes(&config).is_ok_and(|wanted| fits_shapes(file, options, &wanted))
        })
    };
    crate::names().into_iter().filter(fits).collect()
}

fn fits_shapes(file: &WeightsFile, options: &LoadOptions, wanted: &Shapes) -> bool {
    let Ok(found) = file.find(options, Some(wanted)) else { return false };
    let same = |(i, (name, shape)): (usize, &(String, Vec<usize>))| {
        file.shape(&found, name).is_some_and(|own| match (i, &own[..], &shape[..]) {
            // Images of any number of channels.
            (0, [outputs, _, own @ ..], [wanted, _, theirs @ ..]) => (outputs, own) == (wanted, theirs),
            _ => own == *shape,
        })
    };
    found.len_without_head() == wanted.len() && wanted.iter().enumerate().all(same)
}

/// The network that is nearest in its weights' names alone: none is known, so why.
pub(crate) fn foreign(file: &WeightsFile, options: &LoadOptions) -> Option<String> {
    let found: Found = file.find(options, None).ok()?;
    found.foreign
}
