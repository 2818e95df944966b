// deps: config routing
//! Fuzzes the look-up of an address: the first line is the local part, the rest the domain.
#![no_main]
use config::Config;
use libfuzzer_sys::fuzz_target;
use routing::{Table, Verdict, users};

fuzz_target!(|text: &str| {
    let two_lines =
        "hostname = \"mail.example.org\"\ndomains = [\"example.org\", \"bücher.example\"]\n";
    let config =
        Config::parse(two_lines, "/etc/hikyaku/hikyaku.toml".as_ref()).expect("fixed text");
    let list =
        users::parse("al:1:1::\nbo@example.org:2:2::\ncy+x:3:3::\n", &config).expect("fixed text");
    let table = Table::new(&config, list);
    let (local, domain) = text.split_once('\n').unwrap_or((text, ""));
    if let Verdict::Remote(form) = table.lookup(local, domain) {
        assert!(!table.is_local(&form));
    }
    let _ = table.login(text);
});
