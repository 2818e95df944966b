//! Foreign octets through the readers of this module, for fuzzing and for property tests: cut
//! anywhere they say the same, and what is written is read again.

use super::cutter::{Cutter, LINE_MAX};
use super::encoding::Encoding;
use super::journal::{Entry, Reader};
use super::relay::Progress;
use crate::scan::{Hits, PREFIX_MAX, Scanner};

fn entries(pieces: &[&[u8]]) -> Vec<Entry> {
    let mut reader = Reader::default();
    let mut all = Vec::new();
    for piece in pieces {
        reader.feed(piece, &mut |e| all.push(e.clone()));
    }
    all
}

/// Where to cut: the first octet says it.
fn halves(data: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (first, rest) = data.split_first().map_or((0, data), |(f, r)| (*f, r));
    let at = rest.len() * usize::from(first) / 256;
    let (a, b) = rest.split_at(at);
    (a, b, rest)
}

/// A journal's export stream.
///
/// # Panics
/// When a promise of the reader's is broken.
pub fn journal(data: &[u8]) {
    let (a, b, whole) = halves(data);
    let all = entries(&[whole]);
    assert_eq!(entries(&[a, b]), all);
    let mut text = Vec::new();
    let mut progress = Progress::new(0);
    for e in &all {
        let _ = (e.time(), e.fits("_COMM=sshd + _PID=1"));
        assert!(!e.line().contains(&b'\n'));
        if progress.entry(e) {
            let _ = progress.arguments();
        }
        text.clear();
        e.encode(&mut text);
        assert_eq!(entries(&[&text]), std::slice::from_ref(e));
    }
}

/// Lines of a log, and texts that are looked for in them: those of the first line.
///
/// # Panics
/// When a promise of the reader's is broken.
pub fn scan(data: &[u8]) {
    let (a, b, whole) = halves(data);
    let cut = |pieces: &[&[u8]]| {
        let mut cutter = Cutter::default();
        let mut all: Vec<Vec<u8>> = Vec::new();
        for piece in pieces {
            cutter.feed(piece, &mut |l| all.push(l.to_vec()));
            assert!(cutter.held() <= LINE_MAX);
        }
        all
    };
    let lines = cut(&[whole]);
    assert_eq!(cut(&[a, b]), lines);
    let Some((first, lines)) = lines.split_first() else {
        return;
    };
    let texts: Vec<&[u8]> = first.split(|b| *b == b' ').take(200).collect();
    let scanner = Scanner::new(&texts);
    let mut hits = Hits::new();
    let mut room = String::new();
    for line in lines.iter().take(50) {
        scanner.scan(line, &mut hits);
        for (n, text) in texts.iter().enumerate() {
            let text = text.get(..PREFIX_MAX).unwrap_or(text);
            let there = !text.is_empty() && memchr::memmem::find(line, text).is_some();
            let hit = hits.get(n / 64).is_some_and(|w| w >> (n % 64) & 1 == 1);
            assert_eq!(hit, there);
        }
        for name in ["utf-8", "ascii", "latin1", "euc-jp", "gb18030"] {
            if let Some(e) = Encoding::of(name) {
                assert!(e.decode(line, &mut room).len() <= 3 * line.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn journals(text in "(__CURSOR=[a-z]{1,3}\n|MESSAGE=[ -~]{0,9}\n|M\n\u{2}\0\0\0\0\0\0\0a\n\n|\n|\\PC){0,20}") {
            super::journal(text.as_bytes());
        }

        #[test]
        fn logs(text in "[ab ]{0,40}\n([abc]{0,120}\n){0,8}", cut in any::<u8>()) {
            super::scan(&[&[cut], text.as_bytes()].concat());
        }

        #[test]
        fn octets(data in prop::collection::vec(any::<u8>(), 0..300)) {
            super::journal(&data);
            super::scan(&data);
        }
    }
}
