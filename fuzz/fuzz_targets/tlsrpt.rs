// deps: sender-auth
//! Fuzzes records and reports of TLSRPT.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::tlsrpt_texts(data));
