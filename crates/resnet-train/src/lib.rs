//! Training residual networks on candle: optimizers, schedules, recipes, checkpoints, reports
