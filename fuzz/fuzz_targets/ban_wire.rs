// deps: banwatch
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    banwatch::fire::wire::exercise(data);
    let _ = banwatch::watch::control::Command::parse(data);
});
