//! Foreign bytes for every reader of the workspace: what a fuzzer calls, and what its finds are replayed with.
//!
//! A reader may refuse its input, in a message of one line; it may not panic, abort, or take more time and memory than
//! the input is worth. [`READERS`] is the table of all; `fuzz/run` feeds one with ever new inputs, `cargo test -p
//! resnet-fuzz` all of them with the seeds and the finds that are kept in `fuzz/corpus` and `fuzz/finds`.

mod data;
mod runs;
mod scratch;
mod weights;

/// A reader under attack.
#[derive(Clone, Copy)]
pub struct Reader {
    /// The name of the fuzz target, and of its folders of seeds and finds.
    pub name: &'static str,
    /// Gives the bytes to the reader. Panics where its answer breaks a promise.
    pub read: fn(&[u8]),
}

macro_rules! readers {
    ($($name:ident: $read:path),* $(,)?) => {
        /// All readers of foreign bytes.
        pub const READERS: &[Reader] = &[$(Reader { name: stringify!($name), read: $read }),*];
    };
}

readers! {
    safetensors: weights::file,
    torch_zip: weights::file,
    torch_pickle: weights::pickle,
    weights_metadata: weights::metadata,
    hub_config: weights::hub_config,
    preprocessor: weights::preprocessor,
    pictures: data::picture,
    jpeg: data::picture,
    png: data::picture,
    webp: data::picture,
    gif: data::picture,
    bmp: data::picture,
    tiff: data::picture,
    pnm: data::picture,
    exif: data::exif,
    tar: data::tar,
    parquet: data::parquet,
    cifar_pickle: data::cifar_pickle,
    class_names: data::class_names,
    recipe: runs::recipe,
    run_config: runs::config,
    state: runs::state,
    log: runs::log,
}

/// Gives bytes to the reader of that name.
///
/// # Panics
/// Where there is none, and where the reader breaks a promise.
pub fn read(name: &str, bytes: &[u8]) {
    let reader = READERS.iter().find(|reader| reader.name == name);
    (reader.unwrap_or_else(|| panic!("no reader is called {name}")).read)(bytes);
}

/// What a message of an error has to be: one line of something.
fn one_line(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without words");
    assert!(!text.contains('\n'), "an error of several lines: {text}");
    assert!(text.len() < 20_000, "an error of {} bytes", text.len());
}
