// deps: config
//! Fuzzes hikyaku.toml.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) =
        config::Config::parse(text, std::path::Path::new("/etc/hikyaku/hikyaku.toml"))
    {
        assert!(!problems.list.is_empty());
        let _ = problems.to_string();
    }
});
