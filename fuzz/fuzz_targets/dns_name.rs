// deps: dns
//! Names and address literals as they stand in mail addresses.
#![no_main]
use dns::{Kind, Name, Question, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = dns::literal(text);
    if let Ok(name) = Name::parse(text) {
        assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(&name));
        assert!(!encode(&Question::new(name, Kind::Mx), 1, dns::Ask::Edns).is_empty());
    }
});
