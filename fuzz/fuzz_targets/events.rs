// deps: events
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((event, dropped)) = events::Event::decode(data) {
        assert_eq!(&event.encode(dropped)[..], data);
    }
});
