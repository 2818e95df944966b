// deps: dns
//! An answer of any octets to a question: the first octet chooses the type, the next two are the
//! id, so that the reader gets beyond its first checks.
#![no_main]
use dns::{Kind, Name, Question, read};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 6] = [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr, Kind::Tlsa];

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let Ok(name) = Name::parse("example.org") else {
        return;
    };
    let kind = KINDS.get(usize::from(first) % KINDS.len()).copied().unwrap_or(Kind::A);
    let id = bytes.first_chunk().map_or(0, |pair| u16::from_be_bytes(*pair));
    let _ = read(&Question::new(name, kind), id, bytes);
});
