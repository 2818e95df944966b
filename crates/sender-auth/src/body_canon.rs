//! The two forms in which bodies are hashed (RFC 6376, 3.4.3 and 3.4.4), over a stream.
//!
//! A text that is already in its canonical form, which nearly every text is, goes to the
//! receiver as slices of the caller's block. What makes a place special (a TAB, two spaces
//! together, a space before a CR) is found with vector searches over the whole block; only
//! the octets of such a place pass through the states one by one.

use crate::canon::Canon;
use memchr::memmem::Finder;

/// Takes what a canonicaliser makes.
pub(crate) trait Sink {
    /// The next octets of the canonical body.
    fn put(&mut self, bytes: &[u8]);
}

/// One canonicaliser. White space whose fate is not known yet is counted, never stored, so
/// that a body of a gigabyte of empty lines takes no memory.
#[derive(Debug)]
pub(crate) struct BodyCanon {
    canon: Canon,
    /// Line ends not passed on yet: they count only when something follows them.
    line_ends: u64,
    /// White space not passed on yet (relaxed only).
    space: bool,
    /// A CR whose LF has not come yet.
    cr: bool,
    /// Something was passed on.
    begun: bool,
    double_space: Finder<'static>,
    space_cr: Finder<'static>,
}

/// Line ends to pass on together.
const LINE_ENDS: &[u8; 64] = &{
    let mut octets = [b'\r'; 64];
    let mut i = 1;
    while i < 64 {
        octets[i] = b'\n';
        i += 2;
    }
    octets
};

impl BodyCanon {
    pub(crate) fn new(canon: Canon) -> Self {
        Self {
            canon,
            line_ends: 0,
            space: false,
            cr: false,
            begun: false,
            double_space: Finder::new(b"  "),
            space_cr: Finder::new(b" \r"),
        }
    }

    /// Takes the next octets of the body.
    pub(crate) fn feed(&mut self, block: &[u8], out: &mut impl Sink) {
        let head = self.edge_start(block, out);
        let rest = block.get(head..).unwrap_or_default();
        let tail = match rest.iter().rposition(|b| !self.is_edge(*b)) {
            Some(last) => last + 1,
            None => 0,
        };
        let (middle, end) = rest.split_at_checked(tail).unwrap_or((rest, &[]));
        if !middle.is_empty() {
            self.release(out);
            match self.canon {
                Canon::Simple => out.put(middle),
                Canon::Relaxed => self.relax(middle, out),
            }
            self.begun = true;
        }
        for b in end {
            self.edge(*b, out);
        }
    }

    /// The body is over: drops the empty lines at its end and ends its last line.
    pub(crate) fn finish(&mut self, out: &mut impl Sink) {
        if self.cr {
            // A CR without LF is text like any other.
            self.release(out);
            self.begun = true;
        }
        self.space = false;
        self.line_ends = 0;
        if self.begun || self.canon == Canon::Simple {
            out.put(b"\r\n");
        }
    }

    /// Whether the fate of this octet depends on what follows it.
    fn is_edge(&self, b: u8) -> bool {
        match b {
            b'\r' | b'\n' => true,
            b' ' | b'\t' => self.canon == Canon::Relaxed,
            _ => false,
        }
    }

    /// Passes the octets at the start of a block through the states until one of them decides
    /// what was waiting. Returns how many it took.
    fn edge_start(&mut self, block: &[u8], out: &mut impl Sink) -> usize {
        let mut taken = 0;
        for b in block {
            if !self.is_edge(*b) {
                break;
            }
            self.edge(*b, out);
            taken += 1;
        }
        taken
    }

    /// One octet that is white space, CR or LF.
    fn edge(&mut self, b: u8, out: &mut impl Sink) {
        match (b, self.cr) {
            (b'\n', true) => {
                self.cr = false;
                self.space = false;
                self.line_ends += 1;
            }
            (b'\n', false) => self.text(b"\n", out),
            (b'\r', true) => {
                // The first of the two is text, the second waits.
                self.release(out);
                self.begun = true;
                self.cr = true;
            }
            (b'\r', false) => self.cr = true,
            (_, true) => {
                self.release(out);
                self.begun = true;
                self.space = true;
            }
            (_, false) => self.space = true,
        }
    }

    fn text(&mut self, bytes: &[u8], out: &mut impl Sink) {
        self.release(out);
        out.put(bytes);
        self.begun = true;
    }

    /// Passes on what was waiting, as text follows it.
    fn release(&mut self, out: &mut impl Sink) {
        while self.line_ends > 0 {
            let most = (LINE_ENDS.len() / 2) as u64;
            let now = self.line_ends.min(most);
            let octets = usize::try_from(now * 2).unwrap_or(LINE_ENDS.len());
            out.put(LINE_ENDS.get(..octets).unwrap_or(LINE_ENDS));
            self.line_ends -= now;
        }
        if std::mem::take(&mut self.space) {
            out.put(b" ");
        }
        if std::mem::take(&mut self.cr) {
            out.put(b"\r");
        }
    }

    /// Text that neither begins nor ends with white space, CR or LF; nothing is waiting.
    fn relax(&mut self, text: &[u8], out: &mut impl Sink) {
        let (mut tab, mut double, mut trailing) =
            (Ahead::default(), Ahead::default(), Ahead::default());
        let mut run = 0;
        loop {
            let special = tab
                .find(text, run, |rest| memchr::memchr(b'\t', rest))
                .min(double.find(text, run, |rest| self.double_space.find(rest)))
                .min(trailing.find(text, run, |rest| self.space_cr.find(rest)));
            if special >= text.len() {
                break;
            }
            // A single space before a TAB belongs to the place.
            let mut start = special;
            while start > run && text.get(start - 1) == Some(&b' ') {
                start -= 1;
            }
            if start > run {
                self.release(out);
                out.put(text.get(run..start).unwrap_or_default());
            }
            run = start;
            while let Some(b) = text.get(run).filter(|b| self.is_edge(**b)) {
                self.edge(*b, out);
                run += 1;
            }
        }
        self.release(out);
        out.put(text.get(run..).unwrap_or_default());
    }
}

/// The next place of one kind in a text, looked for again only when it was passed.
#[derive(Debug, Default)]
struct Ahead {
    at: Option<usize>,
}

impl Ahead {
    /// The first place at or after `from`; the text's length when there is none.
    fn find(&mut self, text: &[u8], from: usize, find: impl Fn(&[u8]) -> Option<usize>) -> usize {
        match self.at {
            Some(at) if at >= from => at,
            _ => {
                let rest = text.get(from..).unwrap_or_default();
                let at = find(rest).map_or(text.len(), |at| from + at);
                self.at = Some(at);
                at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Sink for Vec<u8> {
        fn put(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
    }

    fn canonical(canon: Canon, blocks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut body = BodyCanon::new(canon);
        for block in blocks {
            body.feed(block, &mut out);
        }
        body.finish(&mut out);
        out
    }

    /// The rules of RFC 6376 said again in the plainest way, line by line.
    fn reference(canon: Canon, body: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut rest = body;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            lines.push(rest[..at].to_vec());
            rest = &rest[at + 2..];
        }
        if !rest.is_empty() {
            lines.push(rest.to_vec());
        }
        if canon == Canon::Relaxed {
            for line in &mut lines {
                let mut short: Vec<u8> = Vec::new();
                for b in line.iter() {
                    match b {
                        b' ' | b'\t' if short.last() == Some(&b' ') => {}
                        b' ' | b'\t' => short.push(b' '),
                        other => short.push(*other),
                    }
                }
                if short.last() == Some(&b' ') {
                    short.pop();
                }
                *line = short;
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        let mut out = Vec::new();
        for line in &lines {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        if out.is_empty() && canon == Canon::Simple {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    // RFC 6376, 3.4.5, the body of its example.
    #[test]
    fn rfc_6376_example() {
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(canonical(Canon::Relaxed, &[body]), b" C\r\nD E\r\n");
        assert_eq!(canonical(Canon::Simple, &[body]), b" C \r\nD \t E\r\n");
    }

    #[test]
    fn edges() {
        for (body, simple, relaxed) in [
            (&b""[..], &b"\r\n"[..], &b""[..]),
            (b"\r\n\r\n", b"\r\n", b""),
            (b" \t\r\n", b" \t\r\n", b""),
            (b"a", b"a\r\n", b"a\r\n"),
            (b"a \t", b"a \t\r\n", b"a\r\n"),
            (b"a\r", b"a\r\r\n", b"a\r\r\n"),
            (b"a \r\r\nb", b"a \r\r\nb\r\n", b"a \r\r\nb\r\n"),
            (b"a \nb", b"a \nb\r\n", b"a \nb\r\n"),
            (b"a \tb  c", b"a \tb  c\r\n", b"a b c\r\n"),
        ] {
            assert_eq!(canonical(Canon::Simple, &[body]), simple, "{body:?}");
            assert_eq!(canonical(Canon::Relaxed, &[body]), relaxed, "{body:?}");
        }
    }

    #[test]
    fn long_runs_of_line_ends_survive() {
        for count in [1, 31, 32, 33, 64, 65, 1_000] {
            let mut body = b"a".to_vec();
            body.extend(b"\r\n".repeat(count));
            body.push(b'b');
            let expected = reference(Canon::Relaxed, &body);
            assert_eq!(canonical(Canon::Relaxed, &[&body]), expected);
        }
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(&b" "[..]),
            Just(&b"\t"[..]),
            Just(&b"\r\n"[..]),
            Just(&b"\r"[..]),
            Just(&b"\n"[..]),
            Just(&b"a"[..]),
            Just(&b"word"[..]),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn same_as_the_plain_rules(body in texts()) {
            for canon in [Canon::Simple, Canon::Relaxed] {
                prop_assert_eq!(canonical(canon, &[&body]), reference(canon, &body));
            }
        }

        #[test]
        fn cuts_change_nothing(body in texts(), cuts in prop::collection::vec(0usize..80, 0..4)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (body.len() + 1)).collect();
            cuts.sort_unstable();
            let mut blocks: Vec<&[u8]> = Vec::new();
            let mut from = 0;
            for cut in cuts {
                blocks.push(&body[from..cut]);
                from = cut;
            }
            blocks.push(&body[from..]);
            for canon in [Canon::Simple, Canon::Relaxed] {
                prop_assert_eq!(canonical(canon, &blocks), canonical(canon, &[&body]));
            }
        }
    }
}
