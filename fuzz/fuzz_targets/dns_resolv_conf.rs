// deps: dns
//! A resolv.conf of any octets.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (settings, _) = dns::Settings::from_resolv_conf(data);
    assert!(!settings.servers.is_empty());
});
