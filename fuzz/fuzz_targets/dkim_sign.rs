// deps: sender-auth
//! Fuzzes signing: what is signed has to verify.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::dkim_sign(data));
