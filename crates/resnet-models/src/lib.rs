//! Residual networks on candle: the papers' tables by name, weights in and out
pub mod weights;
