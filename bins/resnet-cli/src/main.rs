//! The `resnet` program.
fn main() {}
