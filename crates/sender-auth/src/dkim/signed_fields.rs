//! The octets that a signature signs: the fields of `h=`, then its own field without `b=`
//! (RFC 6376, 3.7 and 5.4.2).

use crate::canon::{self, Canon};
use crate::header_block::HeaderBlock;
use std::collections::HashMap;

/// Appends the fields named, each with its CR LF. Of fields with one name the last is taken
/// first; a name that finds nothing more adds nothing.
///
/// `own` is the number of the signature's own field if it is part of the block: it never signs
/// itself through `h=`.
pub(crate) fn named<'n>(
    header: &HeaderBlock,
    names: impl Iterator<Item = &'n str>,
    canon: Canon,
    own: Option<usize>,
    out: &mut Vec<u8>,
) {
    // How many fields of a name are used up, by the name's lowest field.
    let mut used: HashMap<u32, usize> = HashMap::new();
    for name in names {
        let fields = header.named(name.as_bytes());
        let Some(lowest) = fields.first() else {
            continue;
        };
        let next = used.entry(*lowest).or_insert(0);
        while let Some(number) = fields.get(*next) {
            *next += 1;
            let number = *number as usize;
            if own == Some(number) {
                continue;
            }
            if let Some(field) = header.field(number) {
                canon::field(canon, field.raw, None, out);
                out.extend_from_slice(b"\r\n");
            }
            break;
        }
    }
}

/// How many of the fields of this name the names of a signature reach.
pub(crate) fn covers_all<'n>(
    header: &HeaderBlock,
    names: impl Iterator<Item = &'n str>,
    name: &str,
) -> bool {
    header.named(name.as_bytes()).len() <= names.filter(|n| n.eq_ignore_ascii_case(name)).count()
}

/// Appends the signature's own field, the value of `b=` left out, without CR LF.
pub(crate) fn own_field(
    header: &HeaderBlock,
    number: usize,
    cut: &std::ops::Range<usize>,
    canon: Canon,
    out: &mut Vec<u8>,
) {
    if let Some(field) = header.field(number) {
        let before = field.raw.len() - field.value.len();
        canon::field(
            canon,
            field.raw,
            Some((before + cut.start, before + cut.end)),
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(fields: &str, names: &[&str], own: Option<usize>) -> String {
        let header = HeaderBlock::parse(fields.as_bytes().to_vec()).unwrap();
        let mut out = Vec::new();
        named(&header, names.iter().copied(), Canon::Simple, own, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn from_the_bottom_up() {
        let fields = "A: 1\r\nB: 2\r\na: 3\r\n";
        assert_eq!(picked(fields, &["a"], None), "a: 3\r\n");
        let all = picked(fields, &["a", "c", "A", "b", "a"], None);
        assert_eq!(all, "a: 3\r\nA: 1\r\nB: 2\r\n");
    }

    #[test]
    fn a_signature_never_signs_itself_by_name() {
        let fields = "S: own\r\nS: other\r\n";
        assert_eq!(picked(fields, &["s"], Some(0)), "S: other\r\n");
        assert_eq!(picked(fields, &["s", "s"], Some(0)), "S: other\r\n");
        assert_eq!(picked(fields, &["s", "s"], Some(1)), "S: own\r\n");
    }

    #[test]
    fn all_fields_of_a_name() {
        let header = HeaderBlock::parse(b"A: 1\r\na: 2\r\n".to_vec()).unwrap();
        assert!(!covers_all(&header, ["a", "b"].into_iter(), "a"));
        assert!(covers_all(&header, ["a", "A"].into_iter(), "a"));
        assert!(covers_all(&header, ["a"].into_iter(), "b"));
    }
}
