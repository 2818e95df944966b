//! Names with `*`, `?` and `[…]`, as fail2ban's `logpath` has them.

/// Whether a file name fits a pattern. `*` and `?` do not stand for a leading dot. Takes time in
/// the product of both lengths at most.
#[must_use]
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows a star does not fit: one octet further.
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(b'?'), Some(_)) => Some(p + 1),
            (Some(b'['), Some(c)) => match class(pattern.get(p + 1..).unwrap_or(&[]), *c) {
                Some((true, length)) => Some(p + 1 + length),
                Some((false, _)) => None,
                None => (*c == b'[').then_some(p + 1),
            },
            (Some(a), Some(b)) if a == b => Some(p + 1),
            _ => None,
        };
        match (step, back) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, from))) if from < name.len() => {
                back = Some((after, from + 1));
                p = after;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

/// What stands between `[` and `]`: whether the octet is in it, and the length with the `]`.
fn class(text: &[u8], c: u8) -> Option<(bool, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let end = start + 1 + text.get(start + 1..)?.iter().position(|b| *b == b']')?;
    let body = text.get(start..end)?;
    let (mut i, mut found) = (0, false);
    while let Some(a) = body.get(i) {
        match (body.get(i + 1), body.get(i + 2)) {
            (Some(b'-'), Some(z)) => {
                found |= (*a..=*z).contains(&c);
                i += 3;
            }
            _ => {
                found |= *a == c;
                i += 1;
            }
        }
    }
    Some((found != negated, end + 1))
}

/// Whether a pattern has anything but plain octets.
#[must_use]
pub fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (p, n, want) in [
            ("mail.log", "mail.log", true),
            ("mail.log", "mail.log.1", false),
            ("mail.log*", "mail.log.1", true),
            ("*.log", "mail.log", true),
            ("*.log", ".log", false),
            (".*", ".log", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]y", "]y", true),
            ("[ab", "[ab", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(p.as_bytes(), n.as_bytes()), want, "{p} {n}");
        }
        // No blow-up.
        assert!(!fits("*a".repeat(60).as_bytes(), &[b'a'; 59]));
    }
}
