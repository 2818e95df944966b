// deps: sender-auth
//! Fuzzes addresses of SRS and BATV.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::srs_address(data));
