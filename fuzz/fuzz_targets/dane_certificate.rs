// deps: sender-auth
//! Fuzzes certificates.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::dane_certificate(data));
