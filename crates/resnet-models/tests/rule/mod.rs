//! The rule that fills weights and inputs, in Rust and Python alike, so that only results need to be stored.

use candle_core::{DType, Device, Tensor};

/// The CRC-32 of zlib.
pub fn crc32(name: &str) -> u32 {
    !name.bytes().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    })
}

/// The parameter, buffer or input of that name.
pub fn filled(name: &str, dims: &[usize], dtype: DType) -> Tensor {
    let scale = |u: f64| match dims.len() {
        _ if name == "input" => 2. * u,
        _ if name.ends_with("running_mean") => 0.2 * u,
        _ if name.ends_with("running_var") => 1. + 0.5 * u,
        1 if name.ends_with("weight") => 0.5 + 0.4 * u,
        1 => 0.2 * u,
        2 => 2. * u * (3. / dims[1] as f64).sqrt(),
        _ => 2. * u * (6. / dims[1..].iter().product::<usize>() as f64).sqrt(),
    };
    let offset = crc32(name);
    let values: Vec<f32> = (0..dims.iter().product::<usize>() as u32)
        .map(|i| {
            let mut z = i.wrapping_mul(2_654_435_761).wrapping_add(offset);
            for _ in 0..2 {
                z = (z ^ (z >> 16)).wrapping_mul(0x045d_9f3b);
            }
            z ^= z >> 16;
            scale(f64::from(z) / 4_294_967_296. - 0.5) as f32
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}
