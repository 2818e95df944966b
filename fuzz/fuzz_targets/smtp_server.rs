// deps: smtp
//! Fuzzes a whole server session, put into one of its states.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| smtp::exercise::server_session(data));
