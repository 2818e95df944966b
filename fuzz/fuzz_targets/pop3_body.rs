// deps: pop3
//! A stored message to what RETR and TOP send: cutting it into blocks changes nothing, and a
//! client reads back what was announced.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    pop3::rehearse::fuzz_body(data);
});
