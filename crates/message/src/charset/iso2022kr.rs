//! ISO-2022-KR (RFC 1557), decoding only: KS X 1001 between shift-out and shift-in.

use std::borrow::Cow;

use super::Decoded;

const SO: u8 = 0x0e;
const SI: u8 = 0x0f;
const DESIGNATOR: &[u8] = b"\x1b$)C";

/// Decodes by setting the high bit of shifted octets, which gives EUC-KR.
pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let mut euc = Vec::with_capacity(bytes.len());
    let mut shifted = false;
    let mut complete = true;
    let mut rest = bytes;
    while let [octet, tail @ ..] = rest {
        if let Some(after) = rest.strip_prefix(DESIGNATOR) {
            rest = after;
            continue;
        }
        rest = tail;
        match *octet {
            SO => shifted = true,
            SI => shifted = false,
            // A line end takes the shift back (RFC 1557, formal syntax).
            b'\n' => {
                shifted = false;
                euc.push(b'\n');
            }
            octet @ 0x21..=0x7e if shifted => euc.push(octet | 0x80),
            octet => {
                complete &= octet.is_ascii();
                euc.push(octet);
            }
        }
    }
    let (text, errors) = encoding_rs::EUC_KR.decode_without_bom_handling(&euc);
    Decoded {
        text: Cow::Owned(text.into_owned()),
        complete: complete && !errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean() {
        let decoded = decode(b"\x1b$)CHi \x0eGQ1[\x0f!\n\x0eGQ\n1[");
        assert_eq!(
            (decoded.text.as_ref(), decoded.complete),
            ("Hi 한글!\n한\n1[", true)
        );
        assert!(!decode(b"\x0eG").complete);
    }
}
