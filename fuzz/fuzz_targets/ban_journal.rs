// deps: banwatch
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| banwatch::source::drill::journal(data));
