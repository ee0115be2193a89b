//! Residual blocks on candle: basic, bottleneck, pre-activation, and their shortcuts
