//! Inference on inputs of three channels, which lie pixel after pixel where only convolutions read them: against the
//! reference interpreter in f64, on every instruction set that this machine has.

use candle_core::{DType, Device, Result, Tensor};
use resnet_ops::{Backend, ConvConfig, Graph, Inference, Isa, PoolConfig, force_isa};

/// What is done with the input beside the convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reader {
    Nothing,
    AnotherConvolution,
    Pool,
    Sum,
}

/// Repeatable values in ±1.
fn noise(dims: &[usize], seed: u32, dtype: DType) -> Result<Tensor> {
    let value = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 8) as f64 / 8_388_608. - 1.;
    let values: Vec<f64> = (0..dims.iter().product::<usize>() as u32).map(value).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(DType::F32)?.to_dtype(dtype)
}

fn network(kernel: usize, stride: usize, outputs: usize, reader: Reader, dtype: DType) -> Result<Graph> {
    let mut g = Graph::builder();
    let weight = noise(&[outputs, 3, kernel, kernel], 1, dtype)?;
    let y =
        g.conv("conv", g.input(), &weight, Some(&noise(&[outputs], 2, dtype)?), ConvConfig::square(stride, kernel / 2));
    let y = match reader {
        Reader::Nothing => g.relu(y),
        Reader::AnotherConvolution => {
            let around = noise(&[outputs, 3, 1, 1], 3, dtype)?;
            let around = g.conv("around", g.input(), &around, None, ConvConfig::square(stride, 0));
            g.add(y, around)
        }
        Reader::Pool => {
            let pooled = g.max_pool("pool", g.input(), PoolConfig::square(3, stride, 1));
            g.add(y, pooled)
        }
        Reader::Sum => g.add(y, g.input()),
    };
    Ok(g.finish(y))
}

#[test]
fn pictures_are_convolved_as_other_maps() -> Result<()> {
    let cases = [
        (1, 1, 20, Reader::Nothing),
        (3, 1, 16, Reader::Nothing),
        (3, 2, 40, Reader::AnotherConvolution),
        (5, 1, 7, Reader::AnotherConvolution),
        (7, 2, 64, Reader::Nothing),
        (7, 1, 33, Reader::Nothing),
        (3, 1, 3, Reader::Sum),
        (3, 1, 3, Reader::Pool),
        (3, 2, 3, Reader::Pool),
    ];
    for (kernel, stride, outputs, reader) in cases {
        for dims in [[1, 3, 23, 37], [3, 3, 9, 8], [2, 3, 64, 64]] {
            let x = noise(&dims, 9, DType::F64)?;
            let graph = network(kernel, stride, outputs, reader, DType::F64)?.with_backend(Backend::Reference);
            let reference = graph.forward_t(&x, false)?;
            let inference = Inference::new(&network(kernel, stride, outputs, reader, DType::F32)?)?;
            assert!(inference.is_folded());
            for isa in Isa::available() {
                force_isa(Some(isa));
                let ours = inference.forward(&x.to_dtype(DType::F32)?)?.to_dtype(DType::F64)?;
                let error = (ours - &reference)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
                assert!(
                    error < 1e-4,
                    "{kernel}x{kernel} / {stride}, {outputs}, {reader:?}, {dims:?}, {isa:?}: {error}"
                );
            }
        }
    }
    force_isa(None);
    Ok(())
}
