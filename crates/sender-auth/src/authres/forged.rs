//! Fields that bear our name and were there before we checked anything (RFC 8601, 5).

use super::parse::id;
use crate::header_block::HeaderBlock;
use crate::name::ascii_name;

/// Numbers of the Authentication-Results fields that have to go before our own is added:
/// those with one of these authserv-ids, and those whose authserv-id can't be read, as some
/// reader might see ours in them.
pub fn forged(header: &HeaderBlock, own: &[&str]) -> Vec<usize> {
    let own: Vec<String> = own.iter().map(|id| comparable(id)).collect();
    let mut numbers: Vec<usize> = header
        .named(b"authentication-results")
        .iter()
        .map(|number| *number as usize)
        .filter(|number| {
            let value = header.field(*number).map_or(&[][..], |field| field.value);
            match id(value) {
                Some(id) => own.contains(&comparable(&id)),
                None => true,
            }
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The header without those fields; an empty line at its end stays.
pub fn without_forged(header: &HeaderBlock, own: &[&str]) -> Vec<u8> {
    header.without(&forged(header, own))
}

/// Names that mean the same look the same: letter case, UTF-8 or ASCII form, and a dot at the
/// end make no difference.
fn comparable(id: &str) -> String {
    let id = id.trim().trim_end_matches('.');
    ascii_name(id.as_bytes()).unwrap_or_else(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &str) -> String {
        let header = HeaderBlock::parse(format!("{fields}\r\n").into_bytes()).unwrap();
        let own = ["mx.example.org", "b\u{fc}cher.example"];
        String::from_utf8(without_forged(&header, &own)).unwrap()
    }

    #[test]
    fn removes_ours_and_the_unreadable() {
        for value in [
            " mx.example.org; spf=pass",
            "MX.Example.ORG 1; none",
            " mx.example.org.; none",
            " (x) \"mx.example.org\"; spf=pass",
            " (x\r\n (y))\r\n\tmx.example.org\r\n ; dmarc=pass",
            " xn--bcher-kva.example; none",
            " b\u{fc}cher.example; none",
            "",
            " ; spf=pass",
            " (never closed mx.example.org; spf=pass",
        ] {
            let field = format!("A: b\r\nauthentication-RESULTS :{value}\r\nC: d\r\n");
            assert_eq!(kept(&field), "A: b\r\nC: d\r\n\r\n", "{value:?}");
        }
    }

    #[test]
    fn keeps_the_others() {
        for field in [
            "Authentication-Results: mx.example.net; spf=pass\r\n",
            "Authentication-Results: a.mx.example.org; spf=pass\r\n",
            "X-Authentication-Results: mx.example.org; spf=pass\r\n",
            "ARC-Authentication-Results: i=1; mx.example.org; spf=pass\r\n",
        ] {
            assert_eq!(kept(field), format!("{field}\r\n"));
        }
    }
}
