// deps: auth
//! Fuzzes the SASL PLAIN message.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(plain) = auth::sasl::plain(data) {
        assert!(!plain.password.expose().contains(&0));
        assert!(!plain.login.as_str().is_empty());
    }
});
