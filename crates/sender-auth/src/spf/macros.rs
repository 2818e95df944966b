//! Texts with macros (RFC 7208, 7).

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::name::NAME_MAX;

/// Longest expanded explanation in octets; the rest is cut off. One SMTP reply line has less.
pub const EXPANDED_MAX: usize = 1_024;

/// Octets of an expanding domain after which the left ones are dropped: far more than
/// [`NAME_MAX`], as only the right end of a long name is used (RFC 7208, 7.3).
const DOMAIN_BUFFER: usize = 8_192;

/// Longest value of one macro in octets: a path of RFC 5321 (4.5.3.1.3) has 256, the local part
/// of an SRS address a little more. Longer ones are cut.
const VALUE_MAX: usize = 1_024;

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A domain name in a mechanism or in `redirect` and `exp`.
    Domain,
    /// The value of a modifier that nobody knows: any macro string.
    Value,
    /// The text of an explanation, in which spaces and the letters `c`, `r`, `t` may stand.
    Explanation,
}

/// Not of the form of RFC 7208, 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacroError;

impl fmt::Display for MacroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a text with macros")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Macro(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: u8,
    /// Written in upper case: percent-encoded.
    escaped: bool,
    /// Right-hand parts that are kept; 0 for all.
    parts: usize,
    reversed: bool,
    /// Empty for the dot.
    delimiters: String,
}

/// A text that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroString {
    pieces: Vec<Piece>,
}

/// What the letters stand for (RFC 7208, 7.2).
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Local part of the sender, `postmaster` if there was none.
    pub local: &'a str,
    /// Domain of the sender.
    pub sender_domain: &'a str,
    /// The domain whose record is evaluated.
    pub domain: &'a str,
    /// The client; an IPv4-mapped IPv6 address is an IPv4 address here.
    pub ip: IpAddr,
    /// The validated name of the client; `unknown` without one.
    pub validated: &'a str,
    /// What the client said in HELO or EHLO.
    pub helo: &'a str,
    /// The name of the host that makes the check.
    pub receiver: &'a str,
    /// Seconds since 1970 UTC.
    pub now: i64,
}

impl MacroString {
    /// Reads a text.
    ///
    /// # Errors
    /// [`MacroError`] when it is not of the form of RFC 7208, 7.1.
    pub fn parse(text: &str, usage: Use) -> Result<Self, MacroError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        let mut ends_with_macro = false;
        while let Some(b) = rest.bytes().next() {
            if b == b'%' {
                ends_with_macro = true;
                let (piece, length) = read_macro(rest, usage)?;
                match piece {
                    Piece::Literal(text) => literal.push_str(&text),
                    Piece::Macro(_) => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(piece);
                    }
                }
                rest = rest.get(length..).ok_or(MacroError)?;
                continue;
            }
            let length = memchr::memchr(b'%', rest.as_bytes()).unwrap_or(rest.len());
            let (plain, after) = rest.split_at_checked(length).ok_or(MacroError)?;
            let allowed =
                |b: u8| (0x21..=0x7e).contains(&b) || (b == b' ' && usage == Use::Explanation);
            if !plain.bytes().all(allowed) {
                return Err(MacroError);
            }
            literal.push_str(plain);
            ends_with_macro = false;
            rest = after;
        }
        if usage == Use::Domain && !ends_with_macro && !ends_with_top_label(text) {
            return Err(MacroError);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// Whether the validated name of the client is needed, which costs DNS queries.
    pub fn needs_validated_name(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Macro(one) if one.letter == b'p'))
    }

    /// The domain name that the text stands for, without trailing dot; too long a name has lost
    /// labels on its left (RFC 7208, 7.3).
    pub fn domain(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            piece.write(values, &mut out);
            if out.len() > DOMAIN_BUFFER {
                let mut from = out.len() - 2 * NAME_MAX;
                while !out.is_char_boundary(from) {
                    from += 1;
                }
                out.drain(..from);
            }
        }
        if out.ends_with('.') {
            out.pop();
        }
        let mut name = out.as_str();
        while name.len() > NAME_MAX {
            match name.split_once('.') {
                Some((_, right)) => name = right,
                None => break,
            }
        }
        name.to_owned()
    }

    /// The text for people, at most [`EXPANDED_MAX`] octets.
    pub fn text(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            piece.write(values, &mut out);
            if out.len() > EXPANDED_MAX {
                break;
            }
        }
        out.truncate(clip(&out, EXPANDED_MAX).len());
        out
    }
}

/// `"." toplabel [ "." ]` at the end.
fn ends_with_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else {
        return false;
    };
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(label.bytes().next())
        && edge(label.bytes().next_back())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.bytes().all(|b| b.is_ascii_digit())
}

/// Reads what begins with `%`; also the number of octets read.
fn read_macro(text: &str, usage: Use) -> Result<(Piece, usize), MacroError> {
    let octets = text.as_bytes();
    let plain = match octets.get(1) {
        Some(b'%') => "%",
        Some(b'_') => " ",
        Some(b'-') => "%20",
        Some(b'{') => "",
        _ => return Err(MacroError),
    };
    if !plain.is_empty() {
        return Ok((Piece::Literal(plain.to_owned()), 2));
    }
    let end = memchr::memchr(b'}', octets).ok_or(MacroError)?;
    let inner = text.get(2..end).ok_or(MacroError)?;
    let letter = inner.bytes().next().ok_or(MacroError)?;
    let lower = letter.to_ascii_lowercase();
    let known = match usage {
        Use::Domain => b"slodiphv".contains(&lower),
        Use::Value | Use::Explanation => b"slodiphvcrt".contains(&lower),
    };
    if !known {
        return Err(MacroError);
    }
    let rest = inner.get(1..).ok_or(MacroError)?;
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = rest
        .get(..rest.len() - after.len())
        .filter(|d| !d.is_empty());
    let parts = match digits {
        None => 0,
        // So large a number keeps everything.
        Some(digits) => match digits.parse().unwrap_or(usize::MAX) {
            0 => return Err(MacroError),
            parts => parts,
        },
    };
    let (reversed, delimiters) = match after.strip_prefix(['r', 'R']) {
        Some(delimiters) => (true, delimiters),
        None => (false, after),
    };
    if !delimiters.bytes().all(|b| b".-+,/_=".contains(&b)) {
        return Err(MacroError);
    }
    let one = Macro {
        letter: lower,
        escaped: letter.is_ascii_uppercase(),
        parts,
        reversed,
        delimiters: delimiters.to_owned(),
    };
    Ok((Piece::Macro(one), end + 1))
}

/// At most so many octets of a text, cut between characters.
fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

impl Piece {
    fn write(&self, values: &Values<'_>, out: &mut String) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Macro(one) => one.write(values, out),
        }
    }
}

impl Macro {
    fn write(&self, values: &Values<'_>, out: &mut String) {
        let value = self.value(values);
        let value = clip(&value, VALUE_MAX);
        let transformed = if self.parts == 0 && !self.reversed && self.delimiters.is_empty() {
            Cow::Borrowed(value)
        } else {
            let is_delimiter = |c: char| match self.delimiters.as_str() {
                "" => c == '.',
                some => some.contains(c),
            };
            let mut parts: Vec<&str> = value.split(is_delimiter).collect();
            if self.reversed {
                parts.reverse();
            }
            let skipped = match self.parts {
                0 => 0,
                kept => parts.len().saturating_sub(kept),
            };
            Cow::Owned(parts.get(skipped..).unwrap_or_default().join("."))
        };
        if self.escaped {
            for b in transformed.bytes() {
                if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                    out.push(char::from(b));
                } else {
                    let _ = write!(out, "%{b:02X}");
                }
            }
        } else {
            out.push_str(&transformed);
        }
    }

    fn value<'a>(&self, values: &Values<'a>) -> Cow<'a, str> {
        match self.letter {
            b's' => Cow::Owned(format!("{}@{}", values.local, values.sender_domain)),
            b'l' => Cow::Borrowed(values.local),
            b'o' => Cow::Borrowed(values.sender_domain),
            b'd' => Cow::Borrowed(values.domain),
            b'p' => Cow::Borrowed(values.validated),
            b'h' => Cow::Borrowed(values.helo),
            b'r' => Cow::Borrowed(values.receiver),
            b't' => Cow::Owned(values.now.to_string()),
            b'c' => Cow::Owned(values.ip.to_string()),
            b'v' => Cow::Borrowed(match values.ip {
                IpAddr::V4(_) => "in-addr",
                IpAddr::V6(_) => "ip6",
            }),
            _ => match values.ip {
                IpAddr::V4(ip) => Cow::Owned(ip.to_string()),
                IpAddr::V6(ip) => {
                    let nibbles = ip.octets().map(|b| format!("{:x}.{:x}", b >> 4, b & 15));
                    Cow::Owned(nibbles.join("."))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the examples in RFC 7208, 7.4.
    fn values(ip: &str) -> Values<'static> {
        Values {
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            ip: ip.parse().unwrap(),
            validated: "mx.example.org",
            helo: "a&b",
            receiver: "us.example",
            now: 1_767_225_600,
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                "3.2.0.192.in-addr._spf.example.com",
            ),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            (
                "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
                "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
            ),
            (
                "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}",
                "3.2.0.192.in-addr.strong.lp._spf.example.com",
            ),
            (
                "%{d2}.trusted-domains.example.net",
                "example.com.trusted-domains.example.net",
            ),
            ("%{p}.", "mx.example.org"),
        ] {
            let usage = if text == "%{p}." {
                Use::Value
            } else {
                Use::Domain
            };
            let read = MacroString::parse(text, usage).unwrap();
            assert_eq!(read.domain(&values("192.0.2.3")), expected, "{text}");
        }
        let six = MacroString::parse("%{ir}.%{v}._spf.%{d2}", Use::Domain).unwrap();
        assert_eq!(
            six.domain(&values("2001:db8::cb01")),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn explanations() {
        let text = "%{c} %%%_%-%{H} %{t} %{r}.";
        let read = MacroString::parse(text, Use::Explanation).unwrap();
        assert_eq!(
            read.text(&values("2001:db8::1")),
            "2001:db8::1 % %20a%26b 1767225600 us.example."
        );
        assert!(!read.needs_validated_name());
        let long = MacroString::parse(&"%{s}".repeat(1_000), Use::Explanation).unwrap();
        assert_eq!(long.text(&values("::1")).len(), EXPANDED_MAX);
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "a",
            "a.",
            "a.1",
            "a.-b",
            "a.b-",
            "a.b c",
            "%",
            "%a",
            "%{",
            "%{}",
            "%{x}",
            "%{d0}",
            "%{c}",
            "%{r}",
            "%{t}",
            "%{d1x}",
            "%{dr1}",
            "%{d}.1",
            "a.b\u{e9}",
            "a.\0",
        ] {
            assert_eq!(
                MacroString::parse(text, Use::Domain),
                Err(MacroError),
                "{text}"
            );
        }
        for text in ["a.b", "a.b.", "a.1-b", "a.xn--q", "%{d}", "%%", "a:b/c.d"] {
            assert!(MacroString::parse(text, Use::Domain).is_ok(), "{text}");
        }
    }

    #[test]
    fn long_names_lose_their_left() {
        let label = "a".repeat(62);
        for (left, expected) in [(61, 253), (62, 191), (10_000, 191)] {
            let text = format!("{}.{label}.{label}.{label}.bb", "l".repeat(left));
            let read = MacroString::parse(&text, Use::Domain).unwrap();
            let name = read.domain(&values("::1"));
            assert_eq!(name.len(), expected, "{left}");
            assert!(text.ends_with(&name));
        }
    }
}
