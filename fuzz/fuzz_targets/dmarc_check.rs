// deps: sender-auth
//! Fuzzes a DMARC check: author, proven domain and the records.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::dmarc_check(data));
