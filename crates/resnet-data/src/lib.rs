//! Image data sets, augmentation and a prefetching loader for candle
