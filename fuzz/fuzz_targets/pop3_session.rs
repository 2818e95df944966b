// deps: pop3
//! The TRANSACTION and UPDATE states over a mailbox whose first message comes from the fuzzer,
//! whole and cut in two.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    pop3::rehearse::fuzz_session(data);
});
