// deps: smtp
//! Fuzzes a client connection and whatever a server may say.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| smtp::exercise::client_session(data));
