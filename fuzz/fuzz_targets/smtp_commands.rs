// deps: smtp
//! Fuzzes the command parser and xtext.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = smtp::codec::Command::parse(data);
    let _ = smtp::codec::xtext_decode(data, &mut Vec::new());
});
