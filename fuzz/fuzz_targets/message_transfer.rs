// deps: message
//! Fuzzes base64 and quoted-printable in blocks of any size.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::transfer(data));
