// deps: sender-auth
//! Fuzzes the reader of web servers' answers to the question for an MTA-STS policy.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((cut, answer)) = data.split_first() {
        sender_auth::exercise_policy::policy_answer(answer, usize::from(*cut));
    }
});
