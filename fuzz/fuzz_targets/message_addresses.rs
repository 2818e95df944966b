// deps: message
//! Fuzzes address lists: what is read can be written and read again.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::addresses(data));
