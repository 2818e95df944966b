// deps: sender-auth
//! Fuzzes records and policies of MTA-STS.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::mta_sts_texts(data));
