//! Both decoders: tolerance, limits, any cut of the input.

use super::*;
use proptest::prelude::*;

#[test]
fn base64_kindness() {
    for (text, octets, defects) in [
        ("YWJj", "abc", 0),
        ("YW\r\nJj", "abc", 0),
        ("YQ==", "a", 0),
        ("YWI=", "ab", 0),
        ("YQ", "a", 1),
        ("YWI", "ab", 1),
        ("YQ==YWI=", "aab", 0),
        ("Y!W-Jj", "abc", 2),
        ("YWJjZ", "abc", 1),
        ("====", "", 0),
    ] {
        let mut out = Vec::new();
        let mut decoder = Base64::new();
        decoder.push(text.as_bytes(), &mut out);
        assert_eq!(decoder.finish(&mut out), defects, "{text}");
        assert_eq!(out, octets.as_bytes(), "{text}");
    }
}

#[test]
fn quoted_printable_kindness() {
    for (text, octets) in [
        ("a=3Db", "a=b"),
        ("a=3db", "a=b"),
        ("soft=\r\nbreak", "softbreak"),
        ("soft=  \r\nbreak", "softbreak"),
        ("soft=\nbreak", "softbreak"),
        ("end  \r\nx", "end\r\nx"),
        ("end \t", "end"),
        ("a=zz", "a=zz"),
        ("a=4", "a=4"),
        ("a=", "a"),
        ("a=4\r\n", "a=4\r\n"),
        ("a  b", "a  b"),
        ("a\rb", "a\rb"),
        ("a \rb", "a \rb"),
        ("==41", "=A"),
        ("a\n\nb", "a\n\nb"),
        ("é", "é"),
    ] {
        assert_eq!(
            String::from_utf8_lossy(&Encoding::QuotedPrintable.decode(text.as_bytes())),
            octets,
            "{text:?}"
        );
    }
}

#[test]
fn held_space_is_bounded() {
    for n in [QP_SPACE_MAX - 1, QP_SPACE_MAX] {
        let text = format!("a{}\n", " ".repeat(n));
        assert_eq!(Encoding::QuotedPrintable.decode(text.as_bytes()), b"a\n");
    }
    let text = format!("a{}\n", " ".repeat(QP_SPACE_MAX + 1));
    assert_eq!(
        Encoding::QuotedPrintable.decode(text.as_bytes()).len(),
        1 + QP_SPACE_MAX + 1
    );
}

#[test]
fn names() {
    assert_eq!(Encoding::read(b" BASE64 (x)\r\n"), Encoding::Base64);
    assert_eq!(
        Encoding::read(b"quoted-printable;"),
        Encoding::QuotedPrintable
    );
    assert_eq!(Encoding::read(b""), Encoding::SevenBit);
    assert_eq!(Encoding::read(b"uuencode"), Encoding::Unknown);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(text in "[=A-Fa-f0-9 \t\r\nxyz!]{0,60}", cut in 0usize..60) {
        let cut = cut.min(text.len());
        let (a, b) = text.as_bytes().split_at(cut);
        for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
            let mut out = Vec::new();
            let mut decoder = Decoder::new(encoding);
            decoder.push(a, &mut out);
            decoder.push(b, &mut out);
            decoder.finish(&mut out);
            prop_assert_eq!(&out, &encoding.decode(text.as_bytes()));
            prop_assert!(out.len() <= text.len());
        }
    }

    #[test]
    fn base64_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = data_encoding::BASE64.encode(&octets);
        prop_assert_eq!(Encoding::Base64.decode(text.as_bytes()), octets);
    }
}
