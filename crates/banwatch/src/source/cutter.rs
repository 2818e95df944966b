//! Octets that come in pieces, cut into lines.

/// Longest line that is given out, in octets. A longer one is passed over whole: the part before
/// a cut could say what the line as a whole does not.
pub const LINE_MAX: usize = crate::f2b::watch::LINE_MAX;

/// What is left of the last piece.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    rest: Vec<u8>,
    passing: bool,
    too_long: u64,
}

impl Cutter {
    /// Calls `each` for every whole line, without its newline.
    pub fn feed(&mut self, mut piece: &[u8], each: &mut dyn FnMut(&[u8])) {
        while let Some(at) = memchr::memchr(b'\n', piece) {
            let (head, tail) = piece.split_at(at);
            piece = tail.get(1..).unwrap_or(&[]);
            if std::mem::take(&mut self.passing) || self.rest.len() + head.len() > LINE_MAX {
                self.too_long += 1;
            } else if self.rest.is_empty() {
                each(head);
            } else {
                self.rest.extend(head);
                each(&self.rest);
            }
            self.rest.clear();
        }
        if self.passing || self.rest.len() + piece.len() > LINE_MAX {
            self.passing = true;
            self.rest = Vec::new();
        } else {
            self.rest.extend(piece);
        }
    }

    /// Octets held back for a line that is not complete.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rest.len()
    }

    /// Passes over everything up to the next newline: the beginning of a file was not read.
    pub fn begin_inside(&mut self) {
        self.passing = true;
    }

    /// Forgets what is held: the file begins anew.
    pub fn reset(&mut self) {
        self.rest.clear();
        self.passing = false;
    }

    /// Lines that were passed over.
    #[must_use]
    pub fn too_long(&self) -> u64 {
        self.too_long
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Cutter) {
        let mut c = Cutter::default();
        let mut all = Vec::new();
        for p in pieces {
            c.feed(p, &mut |l| all.push(l.to_vec()));
        }
        (all, c)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn cut_anywhere(text in "[ab\n]{0,40}") {
            let (want, _) = lines(&[text.as_bytes()]);
            prop_assert_eq!(want.len(), text.matches('\n').count());
            for n in 0..=text.len() {
                let (a, b) = text.as_bytes().split_at(n);
                prop_assert_eq!(&lines(&[a, b]).0, &want);
            }
        }
    }

    #[test]
    fn long_lines_are_passed_over_whole() {
        for (n, given) in [
            (LINE_MAX - 1, true),
            (LINE_MAX, true),
            (LINE_MAX + 1, false),
        ] {
            let text = [vec![b'x'; n], b"\nnext\n".to_vec()].concat();
            for cut in [1, 1_000, LINE_MAX, LINE_MAX + 1] {
                let (a, b) = text.split_at(cut);
                let (all, c) = lines(&[a, b]);
                assert_eq!(all.len(), 1 + usize::from(given), "{n} {cut}");
                assert_eq!(all.last().unwrap(), b"next");
                assert_eq!(c.too_long(), u64::from(!given));
                assert!(c.held() <= LINE_MAX);
            }
        }
    }
}
