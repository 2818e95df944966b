// deps: sender-auth
//! Fuzzes DMARC reports, packed or not.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::dmarc_report(data));
