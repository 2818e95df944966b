//! The public suffix list: under which names anybody can register one.

use std::collections::HashMap;

use crate::name::ascii_name;

/// Most rules that are read; the list of 2025 has some 10,000.
pub const RULES_MAX: usize = 100_000;

/// Longest line that is read, in octets.
const LINE_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The name itself.
    Plain,
    /// Every name one label below; the name itself too, if it is a rule of its own.
    Wildcard { plain: bool },
    /// The name is none, although a wildcard says so.
    Exception,
}

/// The rules of `public_suffix_list.dat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuffixList {
    rules: HashMap<Box<str>, Rule>,
}

impl SuffixList {
    /// Reads the file, both its parts (registries and private domains). Lines that can't be read
    /// and rules beyond [`RULES_MAX`] are left out, so that a newer form of one line does no harm.
    pub fn parse(text: &[u8]) -> Self {
        let mut rules = HashMap::new();
        for line in text.split(|b| *b == b'\n') {
            let line = line.get(..line.len().min(LINE_MAX)).unwrap_or_default();
            let end = line.iter().position(|b| b.is_ascii_whitespace());
            let line = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
            if line.is_empty() || line.starts_with(b"//") || rules.len() == RULES_MAX {
                continue;
            }
            let (name, kind) = match line {
                [b'!', name @ ..] => (name, Rule::Exception),
                [b'*', b'.', name @ ..] => (name, Rule::Wildcard { plain: false }),
                name => (name, Rule::Plain),
            };
            let Some(name) = ascii_name(name) else {
                continue;
            };
            rules
                .entry(name.into_boxed_str())
                .and_modify(|known| *known = joined(*known, kind))
                .or_insert(kind);
        }
        Self { rules }
    }

    /// How many names have rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Without any rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Labels of the public suffix of a name in ASCII form and lower case; names without a rule
    /// have one of one label.
    fn suffix_labels(&self, name: &str) -> usize {
        let labels = name.split('.').count();
        let mut rest = name;
        for left in (1..=labels).rev() {
            match self.rules.get(rest) {
                Some(Rule::Exception) => return left - 1,
                Some(Rule::Plain | Rule::Wildcard { plain: true }) => return left,
                _ => {}
            }
            let Some((_, parent)) = rest.split_once('.') else {
                break;
            };
            if matches!(self.rules.get(parent), Some(Rule::Wildcard { .. })) {
                return left;
            }
            rest = parent;
        }
        1
    }

    /// Whether a name in ASCII form and lower case is one under which anybody can register.
    pub fn is_suffix(&self, name: &str) -> bool {
        self.suffix_labels(name) >= name.split('.').count()
    }

    /// The public suffix and one label more (RFC 7489, 3.2); the name itself when it is a public
    /// suffix.
    pub fn organizational<'a>(&self, name: &'a str) -> &'a str {
        last_labels(name, self.suffix_labels(name) + 1)
    }
}

fn joined(a: Rule, b: Rule) -> Rule {
    match (a, b) {
        (Rule::Exception, _) | (_, Rule::Exception) => Rule::Exception,
        (Rule::Wildcard { plain }, Rule::Plain) | (Rule::Plain, Rule::Wildcard { plain }) => {
            let _ = plain;
            Rule::Wildcard { plain: true }
        }
        (Rule::Wildcard { plain: a }, Rule::Wildcard { plain: b }) => {
            Rule::Wildcard { plain: a || b }
        }
        (Rule::Plain, Rule::Plain) => Rule::Plain,
    }
}

/// The so many labels at the end of a name.
pub(super) fn last_labels(name: &str, count: usize) -> &str {
    if count == 0 {
        return "";
    }
    match memchr::memrchr_iter(b'.', name.as_bytes()).nth(count - 1) {
        Some(dot) => name.get(dot + 1..).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "// comment\n\ncom\nuk\nco.uk\n*.ck\n!www.ck\njp\n*.kawasaki.jp\n\
        !city.kawasaki.jp\nkawasaki.jp  rest\n\u{516c}\u{53f8}.cn\ngithub.io\r\n bad\nb\u{0}\n";

    #[test]
    fn organizational_domains() {
        let list = SuffixList::parse(LIST.as_bytes());
        for (name, expected) in [
            ("com", "com"),
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("co.uk", "co.uk"),
            ("x.co.uk", "x.co.uk"),
            ("y.x.co.uk", "x.co.uk"),
            ("b.uk", "b.uk"),
            ("ck", "ck"),
            ("x.ck", "x.ck"),
            ("z.y.x.ck", "y.x.ck"),
            ("www.ck", "www.ck"),
            ("a.www.ck", "www.ck"),
            ("kawasaki.jp", "kawasaki.jp"),
            ("x.kawasaki.jp", "x.kawasaki.jp"),
            ("z.y.x.kawasaki.jp", "y.x.kawasaki.jp"),
            ("a.city.kawasaki.jp", "city.kawasaki.jp"),
            ("a.b.xn--55qx5d.cn", "b.xn--55qx5d.cn"),
            ("joe.github.io", "joe.github.io"),
            ("a.joe.github.io", "joe.github.io"),
            ("a.b.unlisted", "b.unlisted"),
        ] {
            assert_eq!(list.organizational(name), expected, "{name}");
        }
        for (name, expected) in [
            ("com", true),
            ("x.ck", true),
            ("www.ck", false),
            ("kawasaki.jp", true),
            ("example.com", false),
            ("unlisted", true),
        ] {
            assert_eq!(list.is_suffix(name), expected, "{name}");
        }
    }

    #[test]
    fn rule_limit() {
        let text: String = (0..RULES_MAX + 5).map(|n| format!("t{n}\n")).collect();
        assert_eq!(SuffixList::parse(text.as_bytes()).len(), RULES_MAX);
        assert!(SuffixList::parse(b"").is_empty());
    }
}
