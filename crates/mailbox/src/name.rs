//! Names of Maildir files.
//!
//! ```text
//! file   = base [":" info]            ; info, as in "2,FS", is for mail readers
//! base   = unique *("," key "=" value); ",S=" octets stored, ",W=" octets on the wire
//! unique = id "." recipient "." host  ; ours: queue id, index in the envelope, our host name
//! ```
//!
//! Names that other programs made have another `unique`; only its uniqueness is relied on.

use std::fmt::Write as _;

/// Most octets of the host name that go into a file name.
///
/// With a queue id of 20, an index of 10, both sizes of 23 and the flags this stays well below
/// the 255 octets that Linux filesystems allow.
pub const HOST_MAX: usize = 128;

/// The `unique` part of a name of ours: `ID.RCPT.HOST`.
///
/// Made from nothing but what the message, the recipient and this host are: a repeated
/// delivery has the same one. In `host`, what a Maildir name may not hold (`/`, `:`, `,`,
/// anything not printable) is written as a backslash and three octal digits.
#[must_use]
pub fn unique(id: &str, index: u32, host: &str) -> String {
    let mut name = String::with_capacity(id.len() + host.len() + 12);
    let _ = write!(name, "{id}.{index}.");
    let start = name.len();
    for b in host.bytes() {
        let plain = b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b',' | b'\\');
        let width = if plain { 1 } else { 4 };
        if name.len() - start + width > HOST_MAX {
            break;
        }
        if plain {
            name.push(char::from(b));
        } else {
            let _ = write!(name, "\\{b:03o}");
        }
    }
    name
}

/// The name under `new/`: the unique part and both sizes.
#[must_use]
pub fn sized(unique: &str, stored: u64, wire: u64) -> String {
    format!("{unique},S={stored},W={wire}")
}

/// A name taken apart; the parts are slices of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Everything before the flags.
    pub base: &'a [u8],
    /// `base` without `,S=`, `,W=` and what follows them.
    pub unique: &'a [u8],
    /// Octets stored, by `,S=`.
    pub stored: Option<u64>,
    /// Octets on the wire, by `,W=`, when it is believable: see [`Parts::read`].
    pub wire: Option<u64>,
}

impl<'a> Parts<'a> {
    /// Takes a name apart; any octets will do.
    ///
    /// A `,W=` is believed when it is between `,S=` and twice that plus 2, as it must be for
    /// any text, or when there is no `,S=`.
    #[must_use]
    pub fn read(name: &'a [u8]) -> Self {
        let base = match memchr::memchr(b':', name) {
            Some(at) => name.get(..at).unwrap_or(name),
            None => name,
        };
        let mut unique = base;
        let (mut stored, mut wire) = (None, None);
        let mut from = 0;
        while let Some(at) = memchr::memchr(b',', base.get(from..).unwrap_or_default()) {
            let comma = from + at;
            let field = base.get(comma + 1..).unwrap_or_default();
            from = comma + 1;
            let (key, value) = match field {
                [key @ (b'S' | b'W'), b'=', value @ ..] => (*key, number(value)),
                _ => continue,
            };
            if unique.len() > comma {
                unique = base.get(..comma).unwrap_or(base);
            }
            match key {
                b'S' => stored = value,
                _ => wire = value,
            }
        }
        if let (Some(s), Some(w)) = (stored, wire)
            && !(s <= w && w <= s.saturating_mul(2).saturating_add(2))
        {
            wire = None;
        }
        Self {
            base,
            unique,
            stored,
            wire,
        }
    }
}

/// The decimal number up to the next comma or the end; at most 18 digits.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.split(|&b| b == b',').next().unwrap_or_default();
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0')),
    )
}

/// When the message came, in seconds since 1970, as far as the name tells; else 0.
///
/// Names of other programs begin with seconds and a dot; ours with a queue id, whose first ten
/// characters are milliseconds in base 32 (`0-9a-z` without `i l o u`).
#[must_use]
pub fn arrival(unique: &[u8]) -> u64 {
    let first = unique.split(|&b| b == b'.').next().unwrap_or_default();
    if first.len() == 20 {
        let head = first.get(..10).unwrap_or_default();
        let value = head
            .iter()
            .try_fold(0u64, |sum, &b| Some(sum * 32 + base32(b)?));
        if let (Some(millis), true) = (value, first.iter().all(|&b| base32(b).is_some())) {
            return millis / 1_000;
        }
    }
    if first.len() <= 12 {
        number(first).unwrap_or(0)
    } else {
        0
    }
}

fn base32(b: u8) -> Option<u64> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    ALPHABET
        .iter()
        .position(|&c| c == b)
        .and_then(|at| u64::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unique_names() {
        assert_eq!(
            unique("01abc", 3, "mx.example.org"),
            "01abc.3.mx.example.org"
        );
        assert_eq!(
            unique("i", 0, "a/b:c,d\\e f"),
            "i.0.a\\057b\\072c\\054d\\134e\\040f"
        );
        for length in [HOST_MAX - 1, HOST_MAX, HOST_MAX + 1] {
            let name = unique("i", 0, &"h".repeat(length));
            assert_eq!(name.len(), 4 + length.min(HOST_MAX));
        }
        assert_eq!(unique("i", 0, &"/".repeat(100)).len(), 4 + HOST_MAX);
        let longest = format!(
            "{}:2,DFPRSTab",
            sized(
                &unique(&"z".repeat(20), u32::MAX, &"h".repeat(999)),
                u64::MAX,
                u64::MAX
            )
        );
        assert!(longest.len() <= 255, "{}", longest.len());
    }

    #[test]
    fn parts() {
        let read = |name: &'static str| {
            let parts = Parts::read(name.as_bytes());
            (
                std::str::from_utf8(parts.unique).unwrap(),
                parts.stored,
                parts.wire,
            )
        };
        assert_eq!(read("a.b.c"), ("a.b.c", None, None));
        assert_eq!(read("a.b.c:2,S"), ("a.b.c", None, None));
        assert_eq!(read("a,S=10,W=12:2,S"), ("a", Some(10), Some(12)));
        assert_eq!(read("a,W=12,S=10"), ("a", Some(10), Some(12)));
        assert_eq!(read("a,W=12"), ("a", None, Some(12)));
        assert_eq!(read("a,b,S=1"), ("a,b", Some(1), None));
        assert_eq!(read("a,S=x,W=5"), ("a", None, Some(5)));
        assert_eq!(read("a,S=10,W=9"), ("a", Some(10), None));
        assert_eq!(read("a,S=10,W=10"), ("a", Some(10), Some(10)));
        assert_eq!(read("a,S=10,W=22"), ("a", Some(10), Some(22)));
        assert_eq!(read("a,S=10,W=23"), ("a", Some(10), None));
        assert_eq!(read("a,S=,W="), ("a", None, None));
        assert_eq!(
            read("a,W=999999999999999999"),
            ("a", None, Some(999_999_999_999_999_999))
        );
        assert_eq!(read("a,W=1000000000000000000"), ("a", None, None));
        assert_eq!(read(":2,"), ("", None, None));
    }

    #[test]
    fn arrivals() {
        assert_eq!(arrival(b"1700000000.M1P2.host"), 1_700_000_000);
        assert_eq!(arrival(b"999999999999.x"), 999_999_999_999);
        assert_eq!(arrival(b"9999999999999.x"), 0);
        assert_eq!(arrival(b"nonsense"), 0);
        assert_eq!(arrival(b""), 0);
        // 1,000,000 ms = 30 * 32^3 + 16 * 32^2 + 18 * 32 + 0
        assert_eq!(arrival(b"000000ygj00123456789.0.host"), 1_000);
        assert_eq!(arrival(b"000000ygj0012345678i.0.host"), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn read_of_made(index: u32, host in "[ -~]{0,140}", stored in 0u64..1 << 40, extra in 0u64..100, flags in "(:2,[A-Z]{0,5})?") {
            let wire = stored + extra.min(stored + 2);
            let unique = unique("000000ygj00123456789", index, &host);
            let name = format!("{}{flags}", sized(&unique, stored, wire));
            let parts = Parts::read(name.as_bytes());
            prop_assert_eq!(parts.unique, unique.as_bytes());
            prop_assert_eq!((parts.stored, parts.wire), (Some(stored), Some(wire)));
            prop_assert_eq!(arrival(parts.unique), 1_000);
        }

        #[test]
        fn any_octets(name in proptest::collection::vec(any::<u8>(), 0..80)) {
            let parts = Parts::read(&name);
            prop_assert!(name.starts_with(parts.base) && parts.base.starts_with(parts.unique));
            let _ = arrival(parts.unique);
        }
    }
}
