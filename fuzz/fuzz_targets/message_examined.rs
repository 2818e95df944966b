// deps: message
//! Fuzzes the examination of a whole message.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::examined(data));
