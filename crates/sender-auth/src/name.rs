//! Domain names as they stand in tags: checked, in ASCII form, in lower case.

use crate::tag_list::trim;

/// Longest domain name in octets without the trailing dot (RFC 1035, 3.1).
pub const NAME_MAX: usize = 253;

/// Longest label in octets (RFC 1035, 3.1).
pub const LABEL_MAX: usize = 63;

/// Reads a domain name or a selector: labels of letters, digits, `-` and `_` between single
/// dots. Names in UTF-8 are brought to their ASCII form (RFC 8616, 4). `None` when it is none.
pub fn ascii_name(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(trim(text)).ok()?;
    let name = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        // Longer than any name can be, even with every octet a character of its own.
        if text.len() > NAME_MAX * 4 {
            return None;
        }
        idna::domain_to_ascii(text).ok()?
    };
    is_name(&name).then_some(name)
}

/// Whether the labels and the lengths are those of a name in ASCII form.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.split('.').all(|label| {
            (1..=LABEL_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// Whether `name` is `domain` or lies below it. Both as [`ascii_name`] makes them.
pub fn is_within(name: &str, domain: &str) -> bool {
    match name.strip_suffix(domain) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names() {
        assert_eq!(ascii_name(b" Example.ORG ").unwrap(), "example.org");
        assert_eq!(ascii_name(b"_x.a-b").unwrap(), "_x.a-b");
        assert_eq!(
            ascii_name("b\u{fc}cher.example".as_bytes()).unwrap(),
            "xn--bcher-kva.example"
        );
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a;b", "a/b", "a\u{0}"] {
            assert_eq!(ascii_name(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(ascii_name(&[0xff, b'a']), None);
    }

    #[test]
    fn lengths() {
        for (length, good) in [(62, true), (63, true), (64, false)] {
            assert_eq!(ascii_name("a".repeat(length).as_bytes()).is_some(), good);
        }
        for (last, good) in [(60, true), (61, true), (62, false)] {
            let label = "a".repeat(63);
            let name = format!("{label}.{label}.{label}.{}", "b".repeat(last));
            assert_eq!(name.len(), 192 + last);
            assert_eq!(ascii_name(name.as_bytes()).is_some(), good);
        }
    }

    #[test]
    fn below() {
        assert!(is_within("a.example", "a.example"));
        assert!(is_within("b.a.example", "a.example"));
        assert!(!is_within("ba.example", "a.example"));
        assert!(!is_within("example", "a.example"));
    }
}
