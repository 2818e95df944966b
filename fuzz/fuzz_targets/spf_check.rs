// deps: sender-auth
//! Fuzzes an SPF check: sender, HELO and the answers.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise_policy::spf_check(data));
