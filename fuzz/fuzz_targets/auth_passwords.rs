// deps: auth
//! Fuzzes the password file, and changes a line of it. No hash is computed.
#![no_main]
use auth::file::{Passwords, with_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (passwords, _) = Passwords::parse(text);
    let _ = passwords.check(None, "nobody");
    let without = with_line(text, "al", None);
    assert!(
        !Passwords::parse(&without)
            .0
            .names()
            .any(|name| name == "al")
    );
});
