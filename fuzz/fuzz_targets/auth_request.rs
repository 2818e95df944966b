// deps: auth
//! Fuzzes the packet that smtpd and pop3d send to authd: what is read is written again the same.
#![no_main]
use auth::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        let packet = request.encode();
        let again = Request::decode(&packet).expect("own packet");
        assert_eq!(again.encode(), packet);
    }
});
