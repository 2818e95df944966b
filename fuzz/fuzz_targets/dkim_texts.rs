// deps: sender-auth
//! Fuzzes signature fields, key records and key rings.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sender_auth::exercise::dkim_texts(data));
