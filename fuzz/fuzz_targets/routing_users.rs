// deps: config routing
//! Fuzzes the users table: nobody in it is root, and each line reads back.
#![no_main]
use config::Config;
use libfuzzer_sys::fuzz_target;
use routing::users;

fuzz_target!(|text: &str| {
    let two_lines = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n";
    let config =
        Config::parse(two_lines, "/etc/hikyaku/hikyaku.toml".as_ref()).expect("fixed text");
    for mailbox in users::parse(text, &config).unwrap_or_default() {
        assert!(mailbox.uid != 0 && mailbox.gid != 0);
        let line = users::line(&mailbox, &config);
        assert_eq!(users::parse(&line, &config).expect("own line"), [mailbox]);
    }
});
