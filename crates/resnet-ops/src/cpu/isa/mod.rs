//! Which instructions the kernels use.
/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// x
    Scalar,
}
/// x
pub fn force_isa(_isa: Option<Isa>) {}
