// deps: banwatch
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut again = Vec::new();
    let mut count = 0;
    let lost = banwatch::state::record::read(data, &mut |r| {
        r.encode(&mut again);
        count += 1;
    });
    let mut found = 0;
    assert_eq!(banwatch::state::record::read(&again, &mut |_| found += 1), 0);
    assert!(found == count && lost <= data.len());
});
