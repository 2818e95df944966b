// deps: smtp
//! Fuzzes the reply parser.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| smtp::exercise::replies(data));
