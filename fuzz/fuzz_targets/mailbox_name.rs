// deps: mailbox
//! Names of Maildir files as other programs make them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parts = mailbox::name::Parts::read(data);
    assert!(data.starts_with(parts.base) && parts.base.starts_with(parts.unique));
    let _ = mailbox::name::arrival(parts.unique);
});
