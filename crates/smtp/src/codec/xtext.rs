//! xtext (RFC 3461, 4): how parameter values carry any printable or other octet.

use std::fmt;

/// Why a text is no xtext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XtextError {
    /// A `+` without two upper-case hexadecimal digits, an `=`, or an octet outside 33 to 126.
    Syntax,
    /// `+00`: a NUL has no place in any value that is carried this way.
    Nul,
}

impl fmt::Display for XtextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not xtext",
            Self::Nul => "NUL in xtext",
        })
    }
}

impl std::error::Error for XtextError {}

/// Appends the octets that `text` stands for.
///
/// `xtext = *( xchar / hexchar )`, `xchar` = 33 to 126 without `+` and `=`,
/// `hexchar = "+" 2(%x30-39 / %x41-46)`. The result is never longer than the text.
///
/// # Errors
/// See [`XtextError`]; `out` then holds what was read so far.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), XtextError> {
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'+' => {
                let high = hex(bytes.next())?;
                let low = hex(bytes.next())?;
                match high * 16 + low {
                    0 => return Err(XtextError::Nul),
                    octet => out.push(octet),
                }
            }
            b'=' => return Err(XtextError::Syntax),
            33..=126 => out.push(byte),
            _ => return Err(XtextError::Syntax),
        }
    }
    Ok(())
}

/// Appends `octets` as xtext: at most three times as long.
pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &octet in octets {
        match octet {
            b'+' | b'=' | 0..=32 | 127..=255 => {
                let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'+', digit(octet >> 4), digit(octet)]);
            }
            _ => out.push(octet),
        }
    }
}

fn hex(byte: Option<&u8>) -> Result<u8, XtextError> {
    match byte {
        Some(b @ b'0'..=b'9') => Ok(b - b'0'),
        Some(b @ b'A'..=b'F') => Ok(b - b'A' + 10),
        _ => Err(XtextError::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses() {
        for (text, why) in [
            (&b"+"[..], XtextError::Syntax),
            (b"+4", XtextError::Syntax),
            (b"+4g", XtextError::Syntax),
            (b"+2b", XtextError::Syntax),
            (b"a=b", XtextError::Syntax),
            (b"a b", XtextError::Syntax),
            (b"\x7f", XtextError::Syntax),
            (b"+00", XtextError::Nul),
        ] {
            assert_eq!(decode(text, &mut Vec::new()), Err(why));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn comes_back(octets in prop::collection::vec(1u8.., 0..60)) {
            let (mut wire, mut back) = (Vec::new(), Vec::new());
            encode(&octets, &mut wire);
            prop_assert!(decode(&wire, &mut back).is_ok());
            prop_assert_eq!(back, octets);
        }
    }
}
