// deps: message
//! Fuzzes the building of fields and bodies: no text leaves its field.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::building(data));
