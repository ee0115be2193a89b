//! Who is told how far a download is.

/// Is told how far a download is; `()` ignores it.
pub trait Progress {
    /// A file of so many bytes begins.
    fn start(&mut self, file: &str, bytes: u64);
    /// So many more bytes have arrived.
    fn advance(&mut self, bytes: u64);
    /// The file is complete.
    fn finish(&mut self);
}

impl Progress for () {
    fn start(&mut self, _file: &str, _bytes: u64) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self) {}
}
