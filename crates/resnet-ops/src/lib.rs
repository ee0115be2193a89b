//! Differentiable convolution, batch norm and pooling for residual networks on candle
