// deps: auth
//! Fuzzes authd's answer: a prefix never says anything else than the whole.
#![no_main]
use auth::protocol::{Answer, Reading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Reading::Complete(_, used)) = Answer::decode(data) {
        for end in 0..used {
            assert_eq!(Answer::decode(&data[..end]), Ok(Reading::Incomplete));
        }
    }
});
