// deps: pop3
//! The AUTHORIZATION state from each state of TLS, whole and cut in two.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    pop3::rehearse::fuzz_login(data);
});
