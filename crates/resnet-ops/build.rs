//! Tells the code whether it is compiled without optimisation. With the feature `cuda`: compiles the kernels to PTX, which the driver turns into machine code for the device at hand.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const KERNELS: &str = "src/cuda/kernels";
const FILES: [&str; 8] = ["conv", "elementwise", "images", "layout", "loss", "norm", "optimizer", "pool"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(unoptimized)");
    if env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!("cargo:rustc-cfg=unoptimized");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "CUDA_COMPUTE_CAP"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed={KERNELS}");
    let nvcc = env::var("NVCC").unwrap_or_else(|_| "nvcc".into());
    // Instructions of this capability and above; the driver compiles them for what is there.
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| fail("OUT_DIR is not set")));
    for file in FILES {
        compile(&nvcc, &capability, &Path::new(KERNELS).join(format!("{file}.cu")), &out.join(format!("{file}.ptx")));
    }
}

fn compile(nvcc: &str, capability: &str, source: &Path, target: &Path) {
    let architecture = format!("compute_{capability}");
    let mut command = Command::new(nvcc);
    command.args(["--ptx", "-O3", "-std=c++17", "-arch", &architecture, "-o"]).arg(target).arg(source);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{nvcc} ends with {status} on {}", source.display())),
        Err(error) => fail(&format!("{nvcc} (the CUDA toolkit's compiler; set NVCC where it is not on PATH): {error}")),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("resnet-ops: {message}");
    exit(1)
}
