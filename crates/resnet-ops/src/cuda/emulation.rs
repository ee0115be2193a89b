//! The kernels on the processor: compiled as C++ (kernels/emulation.h) and run block by block. Slow, and exact.

mod library;

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, DType, Result, Storage, Tensor};

use super::conv_problem::{ConvPass, ConvProblem};
use super::launch::{Grid, THREADS};
use super::runtime::{Arg, Element, Module, Runtime};
pub(crate) use library::{Call, Library};

type Emulate = unsafe extern "C" fn(*const c_char, c_uint, c_uint, c_uint, *mut *mut c_void, c_int) -> c_int;

struct Machine {
    /// Keeps the code in memory.
    _library: libloading::Library,
    emulate: Emulate,
    /// Shared memory of a block is static there: one kernel at a time.
    busy: Mutex<()>,
}

/// The machine, or why there is none.
fn machine() -> &'static std::result::Result<Machine, String> {
    static MACHINE: OnceLock<std::result::Result<Machine, String>> = OnceLock::new();
    MACHINE.get_or_init(build)
}

fn build() -> std::result::Result<Machine, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let library = folder.path().join("kernels.so");
    let mut command = Command::new(&compiler);
    command.args([
        "-std=c++17",
        "-O2",
        "-shared",
        "-fPIC",
        "-ffp-contract=off",
        "-Wno-unknown-pragmas",
        "-x",
        "c++",
        "-o",
    ]);
    command.arg(&library).arg(sources.join("emulation.cpp"));
    let names = ["conv", "elementwise", "images", "layout", "loss", "norm", "optimizer", "pool"];
    command.args(names.map(|name| sources.join(format!("{name}.cu"))));
    match command.output() {
        Err(error) => return Err(format!("no C++ compiler ({compiler}: {error})")),
        Ok(output) if !output.status.success() => {
            // A compiler that is there must compile them.
            panic!("{compiler} refuses the kernels:\n{}", String::from_utf8_lossy(&output.stderr))
        }
        Ok(_) => {}
    }
    // SAFETY: the library's initialisers fill a table and nothing else; `emulate` has this type (emulation.cpp).
    unsafe {
        let library = libloading::Library::new(&library).map_err(|error| error.to_string())?;
        let emulate = *library.get::<Emulate>(b"emulate\0").map_err(|error| error.to_string())?;
        Ok(Machine { _library: library, emulate, busy: Mutex::new(()) })
    }
}

/// Runs each kernel on the processor, its threads in order or backwards.
#[derive(Debug, Clone)]
pub(crate) struct Emulation {
    pub backwards: bool,
    /// What convolutions are asked of; without it the direct kernels do them.
    pub library: Option<Library>,
}

impl Emulation {
    /// Both orders of threads; empty, with a message, where there is no C++ compiler.
    pub(crate) fn all() -> Vec<Self> {
        match machine() {
            Ok(_) => [false, true].map(|backwards| Self { backwards, library: None }).into(),
            Err(reason) => {
                eprintln!("skipped: the CUDA kernels cannot be compiled for the processor: {reason}");
                Vec::new()
            }
        }
    }

    /// With a library that takes convolutions: all, and all that do not add to what is there. Empty as [`Self::all`].
    pub(crate) fn with_libraries() -> Vec<Self> {
        let library = |adds| Self { backwards: false, library: Some(Library::new(adds)) };
        if Self::all().is_empty() { Vec::new() } else { [true, false].map(library).into() }
    }
}

/// 256 bytes, aligned like memory on a device.
#[derive(Debug, Clone, Copy)]
#[repr(align(256))]
struct Line([u8; 256]);

/// Filled with NaN until it is written.
#[derive(Debug)]
pub(crate) struct Memory(Vec<Line>);

impl Runtime for Emulation {
    type Memory = Memory;

    fn allocate(&self, bytes: usize) -> Result<Memory> {
        // All bits set are NaN in every float type: a value that nobody wrote shows.
        Ok(Memory(vec![Line([0xff; 256]); bytes.div_ceil(256)]))
    }

    fn upload(&self, bytes: &[u8]) -> Result<Memory> {
        let mut memory = self.allocate(bytes.len())?;
        for (line, bytes) in memory.0.iter_mut().zip(bytes.chunks(256)) {
            line.0[..bytes.len()].copy_from_slice(bytes);
        }
        Ok(memory)
    }

    fn address(&self, memory: &Memory) -> u64 {
        memory.0.as_ptr() as u64
    }

    fn tensor_address(&self, tensor: &Tensor, dtype: DType) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else { bail!("a tensor is not contiguous") };
        match (&*storage, dtype) {
            (Storage::Cpu(CpuStorage::F32(values)), DType::F32) => Ok(values[start..].as_ptr() as u64),
            (Storage::Cpu(CpuStorage::U32(values)), DType::U32) => Ok(values[start..].as_ptr() as u64),
            (Storage::Cpu(CpuStorage::U8(values)), DType::U8) => Ok(values[start..].as_ptr() as u64),
            _ => bail!("a tensor of {:?} where {dtype:?} on the CPU is wanted", tensor.dtype()),
        }
    }

    fn storage(&self, memory: Memory, dtype: DType, count: usize) -> Result<Storage> {
        let bytes: Vec<u8> = memory.0.iter().flat_map(|line| line.0).take(count * dtype.size_in_bytes()).collect();
        let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        match dtype {
            DType::F32 => Ok(Storage::Cpu(CpuStorage::F32(floats.collect()))),
            other => bail!("results of {other:?} are not read on the CPU"),
        }
    }

    unsafe fn launch(&self, _: Module, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        let Ok(machine) = machine() else { bail!("no machine") };
        let mut pointers: Vec<*mut c_void> = args
            .iter()
            .map(|arg| match arg {
                Arg::Address(value) => std::ptr::from_ref(value) as *mut c_void,
                Arg::Int(value) => std::ptr::from_ref(value) as *mut c_void,
                Arg::Float(value) => std::ptr::from_ref(value) as *mut c_void,
                Arg::Conv(value) => std::ptr::from_ref(value) as *mut c_void,
                Arg::Window(value) => std::ptr::from_ref(value) as *mut c_void,
                Arg::Channels(value) => std::ptr::from_ref(value) as *mut c_void,
            })
            .collect();
        let Ok(name) = CString::new(kernel) else { bail!("no kernel {kernel:?}") };
        let (x, y, threads) = (grid.x as c_uint, grid.y as c_uint, THREADS as c_uint);
        let _busy = machine.busy.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's arguments are the kernel's, by their order and sizes.
        let missing = unsafe {
            (machine.emulate)(name.as_ptr(), x, y, threads, pointers.as_mut_ptr(), c_int::from(self.backwards))
        };
        if missing != 0 {
            bail!("there is no kernel {kernel}");
        }
        Ok(())
    }

    unsafe fn convolve(
        &self,
        pass: ConvPass,
        shape: &ConvProblem,
        element: Element,
        operands: [u64; 2],
        out: u64,
        accumulate: bool,
    ) -> Result<bool> {
        let Some(library) = &self.library else { return Ok(false) };
        // SAFETY: as the caller promises.
        Ok(unsafe { library.convolve(pass, shape, element, operands, out, accumulate) })
    }
}
