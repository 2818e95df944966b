// deps: message
//! Fuzzes ENVELOPE, BODY and BODYSTRUCTURE: always one well-formed IMAP value.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| message::exercise::imap(data));
