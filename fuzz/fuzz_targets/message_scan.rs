// deps: message
//! Fuzzes the scanner: sound ranges, the same structure in blocks of any size.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::scan(data));
