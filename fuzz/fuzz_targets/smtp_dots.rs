// deps: smtp
//! Fuzzes the dot decoder, and the encoder behind it.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| smtp::exercise::dots(data));
