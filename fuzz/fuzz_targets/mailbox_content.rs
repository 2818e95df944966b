// deps: mailbox
//! CRLF to LF: cutting changes nothing, and the announced size is what goes out again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    mailbox::content::fuzz(data);
});
