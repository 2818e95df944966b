// deps: banwatch
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| banwatch::f2b::drill::action_file(data));
