//! The fused engine against the reference (in f64) on random shapes, on every instruction set that this
//! machine has, and both against finite differences.

mod bf16;
mod dropout;
mod finite_differences;
mod impossible;
mod inference;
mod networks;
mod operations;
mod parts;
mod support;
