//! Sets of characters as Python's `re` understands them on text.

/// One class out of a pattern: `[a-z]`, `\w`, `.`, a folded letter.
///
/// ASCII is a bit map; what lies above is either all in, all out, or has to be asked. `\d` is
/// ASCII only: an address or a date in other digits is not one we could act upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CharSet {
    pub(crate) ascii: u128,
    pub(crate) high: High,
}

/// The part of a [`CharSet`] above U+007F.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum High {
    None,
    All,
    Ask(HighTest),
}

/// Members above ASCII, before `negate` is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HighTest {
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) word: bool,
    pub(crate) not_word: bool,
    pub(crate) space: bool,
    pub(crate) not_space: bool,
    pub(crate) everything: bool,
    pub(crate) negate: bool,
}

impl HighTest {
    fn contains(&self, c: char) -> bool {
        let u = c as u32;
        let inside = self.everything
            || (self.word && c.is_alphanumeric())
            || (self.not_word && !c.is_alphanumeric())
            || (self.space && c.is_whitespace())
            || (self.not_space && !c.is_whitespace())
            || self.ranges.iter().any(|&(a, b)| a <= u && u <= b);
        inside != self.negate
    }

    fn is_trivial(&self) -> Option<bool> {
        let asks =
            self.word || self.not_word || self.space || self.not_space || !self.ranges.is_empty();
        if self.everything {
            Some(!self.negate)
        } else if asks {
            None
        } else {
            Some(self.negate)
        }
    }
}

/// ASCII bits of `[0-9]`.
pub(crate) const DIGIT: u128 = 0x3ff << 48;
/// ASCII bits of Python's `\s`.
pub(crate) const SPACE: u128 = (0x1f << 9) | (0xf << 0x1c) | (1 << 32);
/// ASCII bits of `\w`.
pub(crate) const WORD: u128 = DIGIT | (1 << 95) | (0x3ff_ffff << 65) | (0x3ff_ffff << 97);

impl CharSet {
    /// `.` without DOTALL.
    pub(crate) fn dot() -> Self {
        CharSet {
            ascii: !(1 << 10),
            high: High::All,
        }
    }

    /// `.` with DOTALL.
    pub(crate) fn every() -> Self {
        CharSet {
            ascii: !0,
            high: High::All,
        }
    }

    /// A single character.
    pub(crate) fn single(c: char) -> Self {
        let mut b = SetBuilder::default();
        b.char(c);
        b.build(false)
    }

    /// Both cases of a letter.
    pub(crate) fn folded(c: char) -> Self {
        let mut b = SetBuilder::default();
        b.char(c);
        b.fold();
        b.build(false)
    }

    /// Whether `c` is a member.
    pub(crate) fn contains(&self, c: char) -> bool {
        let u = c as u32;
        if u < 128 {
            return self.ascii >> u & 1 == 1;
        }
        match &self.high {
            High::None => false,
            High::All => true,
            High::Ask(t) => t.contains(c),
        }
    }
}

/// Collects the members of a class while it is being read.
#[derive(Default)]
pub(crate) struct SetBuilder {
    ascii: u128,
    high: HighTest,
}

impl SetBuilder {
    pub(crate) fn char(&mut self, c: char) {
        self.range(c, c);
    }

    pub(crate) fn range(&mut self, a: char, b: char) {
        let (a, b) = (a as u32, b as u32);
        for u in a..=b.min(127) {
            self.ascii |= 1 << u;
        }
        if b > 127 {
            self.high.ranges.push((a.max(128), b));
        }
    }

    /// One of `d D w W s S`; anything else is ignored.
    pub(crate) fn perl(&mut self, c: char) {
        match c {
            'd' => self.ascii |= DIGIT,
            'D' => {
                self.ascii |= !DIGIT;
                self.high.everything = true;
            }
            'w' => {
                self.ascii |= WORD;
                self.high.word = true;
            }
            'W' => {
                self.ascii |= !WORD;
                self.high.not_word = true;
            }
            's' => {
                self.ascii |= SPACE;
                self.high.space = true;
            }
            'S' => {
                self.ascii |= !SPACE;
                self.high.not_space = true;
            }
            _ => {}
        }
    }

    /// Adds the other case of every letter.
    pub(crate) fn fold(&mut self) {
        let lower = self.ascii & (0x3ff_ffff << 97);
        let upper = self.ascii & (0x3ff_ffff << 65);
        self.ascii |= (lower >> 32) | (upper << 32);
        let mut more = Vec::new();
        for &(a, b) in &self.high.ranges {
            if b - a > 512 {
                continue;
            }
            for c in (a..=b).filter_map(char::from_u32) {
                for d in c.to_lowercase().chain(c.to_uppercase()) {
                    more.push(d);
                }
            }
        }
        for d in more {
            self.char(d);
        }
    }

    pub(crate) fn build(self, negate: bool) -> CharSet {
        let mut high = self.high;
        high.negate = negate;
        let high = match high.is_trivial() {
            Some(true) => High::All,
            Some(false) => High::None,
            None => High::Ask(high),
        };
        CharSet {
            ascii: if negate { !self.ascii } else { self.ascii },
            high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perl_classes() {
        for (class, yes, no) in [
            ('d', "09", "a/:٣"),
            ('w', "azAZ09_éß", "- .\u{a0}"),
            ('s', " \t\n\r\x0b\x0c\x1c\x1f\u{a0}", "a_\x1b"),
            ('S', "aé", " \u{2003}"),
        ] {
            let mut b = SetBuilder::default();
            b.perl(class);
            let s = b.build(false);
            assert!(yes.chars().all(|c| s.contains(c)), "{class} {yes}");
            assert!(!no.chars().any(|c| s.contains(c)), "{class} {no}");
        }
    }

    #[test]
    fn folding_and_negation() {
        let s = CharSet::folded('k');
        assert!(s.contains('k') && s.contains('K') && !s.contains('j'));
        let mut b = SetBuilder::default();
        b.range('a', 'c');
        let s = b.build(true);
        assert!(!s.contains('b') && s.contains('B') && s.contains('é'));
        assert!(!CharSet::dot().contains('\n'));
    }
}
