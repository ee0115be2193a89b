#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resnet_fuzz::read("torch_pickle", bytes));
