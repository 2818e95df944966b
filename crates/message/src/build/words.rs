//! RFC 2047 encoded words, writing side, always UTF-8.

use data_encoding::BASE64;

/// Longest encoded word, in octets (RFC 2047 2).
const WORD_MAX: usize = 75;
const PREFIX_B: &str = "=?utf-8?B?";
const PREFIX_Q: &str = "=?utf-8?Q?";
const SUFFIX: &str = "?=";
/// Octets of encoded text that one word can hold.
const PAYLOAD_MAX: usize = WORD_MAX - PREFIX_B.len() - SUFFIX.len();

/// Whether text can't stand as it is: not ASCII, or something a reader would take for an encoded word.
pub(super) fn needs_words(text: &str) -> bool {
    !text.is_ascii() || text.contains("=?")
}

/// Encodes a run of text as one or more encoded words, each at most [`WORD_MAX`] octets, none
/// splitting a character (RFC 2047 5). Picks Q while it is at most a third longer than B, as
/// people can read most of it.
pub(super) fn encode_run(text: &str) -> Vec<String> {
    let q_len: usize = text.bytes().map(q_cost).sum();
    if q_len * 3 <= text.len().div_ceil(3) * 16 {
        encode_q(text)
    } else {
        encode_b(text)
    }
}

fn encode_b(text: &str) -> Vec<String> {
    // 3 octets make 4 characters.
    let room = PAYLOAD_MAX / 4 * 3;
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(room);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        words.push(format!(
            "{PREFIX_B}{}{SUFFIX}",
            BASE64.encode(piece.as_bytes())
        ));
        rest = tail;
    }
    words
}

fn encode_q(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut payload = String::new();
    let mut utf8 = [0u8; 4];
    for c in text.chars() {
        let octets = c.encode_utf8(&mut utf8).as_bytes();
        let cost: usize = octets.iter().copied().map(q_cost).sum();
        if payload.len() + cost > PAYLOAD_MAX {
            words.push(format!("{PREFIX_Q}{payload}{SUFFIX}"));
            payload.clear();
        }
        for &octet in octets {
            match octet {
                b' ' => payload.push('_'),
                octet if q_plain(octet) => payload.push(char::from(octet)),
                octet => payload.push_str(&format!("={octet:02X}")),
            }
        }
    }
    if !payload.is_empty() {
        words.push(format!("{PREFIX_Q}{payload}{SUFFIX}"));
    }
    words
}

/// The octets that may stand for themselves even in a phrase (RFC 2047 5, rule 3).
fn q_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'!' | b'*' | b'+' | b'-' | b'/')
}

fn q_cost(octet: u8) -> usize {
    if octet == b' ' || q_plain(octet) {
        1
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ones() {
        assert_eq!(
            encode_run("Grüße an alle"),
            ["=?utf-8?Q?Gr=C3=BC=C3=9Fe_an_alle?="]
        );
        assert_eq!(encode_run("飛脚"), ["=?utf-8?B?6aOb6ISa?="]);
        assert_eq!(encode_run("=?x"), ["=?utf-8?B?PT94?="]);
    }

    #[test]
    fn words_are_bounded_and_split_no_character() {
        for text in [
            "飛脚は日本の昔の郵便屋である。".repeat(20),
            "ü x".repeat(100),
            "\u{1F4EC}a".repeat(90),
        ] {
            for word in encode_run(&text).into_iter().chain(encode_q(&text)) {
                assert!(word.len() <= WORD_MAX, "{}", word.len());
            }
            for word in encode_q(&text) {
                let alone = crate::words::decode(word.as_bytes()).into_owned();
                assert!(!alone.contains(char::REPLACEMENT_CHARACTER), "{word}");
            }
            for word in encode_b(&text) {
                let inner = &word[PREFIX_B.len()..word.len() - SUFFIX.len()];
                assert!(String::from_utf8(BASE64.decode(inner.as_bytes()).unwrap()).is_ok());
            }
        }
    }
}
