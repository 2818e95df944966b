//! UTF-7 (RFC 2152), decoding only.

use std::borrow::Cow;

use super::Decoded;

/// Decodes; a broken shift sequence becomes U+FFFD.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let mut out = String::with_capacity(bytes.len());
    let mut complete = true;
    let mut rest = bytes;
    while let [octet, tail @ ..] = rest {
        rest = tail;
        match octet {
            b'+' if tail.first() == Some(&b'-') => {
                out.push('+');
                rest = tail.get(1..).unwrap_or_default();
            }
            b'+' => {
                let len = tail.iter().take_while(|b| value(**b).is_some()).count();
                let (shifted, after) = tail.split_at(len);
                complete &= !shifted.is_empty();
                complete &= unshift(shifted, &mut out);
                rest = after.strip_prefix(b"-").unwrap_or(after);
            }
            octet if octet.is_ascii() => out.push(char::from(*octet)),
            _ => {
                out.push(char::REPLACEMENT_CHARACTER);
                complete = false;
            }
        }
    }
    Decoded {
        text: Cow::Owned(out),
        complete,
    }
}

/// Modified base64 of big-endian UTF-16; false if something was replaced.
fn unshift(text: &[u8], out: &mut String) -> bool {
    let mut bits = 0u32;
    let mut count = 0u32;
    let mut units = Vec::with_capacity(text.len() * 6 / 16);
    for octet in text {
        let Some(six) = value(*octet) else { continue };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    // Fewer than six bits of padding remain, all zero.
    let mut complete = count < 6 && bits == 0;
    for unit in char::decode_utf16(units) {
        complete &= unit.is_ok();
        out.push(unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    complete
}

fn value(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        // The examples of RFC 2152.
        for (bytes, text) in [
            ("A+ImIDkQ.", "A\u{2262}\u{391}."),
            ("Hi Mom -+Jjo--!", "Hi Mom -\u{263A}-!"),
            ("+ZeVnLIqe-", "日本語"),
            ("Item 3 is +AKM-1.", "Item 3 is £1."),
            ("1 +- 1", "1 + 1"),
            ("+2D3cuw-", "\u{1F4BB}"),
        ] {
            let decoded = decode(bytes.as_bytes());
            assert_eq!(
                (decoded.text.as_ref(), decoded.complete),
                (text, true),
                "{bytes}"
            );
        }
        for bad in [&b"+"[..], b"+!", b"\xff", b"+2D0-", b"+ZeVn5-"] {
            assert!(!decode(bad).complete, "{bad:?}");
        }
    }
}
