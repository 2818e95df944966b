// deps: smtp
//! Fuzzes mailboxes and paths.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| smtp::exercise::addresses(data));
