// deps: message
//! Fuzzes encoded words, parameters, dates, ids, list fields and charsets.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::texts(data));
