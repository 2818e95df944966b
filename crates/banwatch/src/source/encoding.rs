//! In which letters a log is written: `logencoding`.
//!
//! A line is decoded once, as a whole; what is no character becomes U+FFFD, as in fail2ban, so a
//! pattern that asks for one octet of rubbish finds one.

use encoding_rs::WINDOWS_1252;

/// How octets become characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// US-ASCII: every octet from 128 on is none.
    Ascii,
    /// ISO 8859-1: octets are the first 256 characters. (The web's `latin1` is Windows-1252; in
    /// a log it is what it says.)
    Latin1,
    /// One of the Encoding Standard's that agrees with ASCII.
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The encoding of a name as Python or the Encoding Standard has it: `utf-8`, `latin_1`,
    /// `cp1252`, `koi8-r`, `euc-jp` … None for an unknown one, and for one whose lines can't be
    /// cut at octet 10 or whose ASCII is something else (UTF-16, ISO-2022-JP).
    #[must_use]
    pub fn of(name: &str) -> Option<Encoding> {
        let name = name.trim().to_ascii_lowercase().replace(['_', ' '], "-");
        Some(match name.as_str() {
            "utf-8" | "utf8" | "u8" | "utf" | "cp65001" => Encoding::Utf8,
            "ascii" | "us-ascii" | "646" | "ansi-x3.4-1968" => Encoding::Ascii,
            "latin-1" | "latin1" | "l1" | "latin" | "8859" | "iso-8859-1" | "iso8859-1"
            | "cp819" => Encoding::Latin1,
            _ => {
                let label = |l: &str| encoding_rs::Encoding::for_label(l.as_bytes());
                // Python's spellings that the standard does not have.
                let found = label(&name)
                    .or_else(|| label(&name.replace("latin-", "latin")))
                    .or_else(|| label(&name.replacen("cp", "windows-", 1)))
                    .or_else(|| label(&name.replace('-', "")))?;
                if !found.is_ascii_compatible() {
                    return None;
                }
                if found == encoding_rs::UTF_8 {
                    return Some(Encoding::Utf8);
                }
                Encoding::Other(found)
            }
        })
    }

    /// `auto`: what the locale says that the program was started with (the first of `LC_ALL`,
    /// `LC_CTYPE` and `LANG` that is set); UTF-8 where it says nothing that is known.
    #[must_use]
    pub fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Encoding {
        ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|n| variable(n))
            .find(|v| !v.is_empty())
            .and_then(|v| {
                let (_, charset) = v.split_once('.')?;
                Encoding::of(charset.split('@').next()?)
            })
            .unwrap_or_default()
    }

    /// The line as text; `room` is written to where it can't be given as it stands.
    pub fn decode<'a>(self, line: &'a [u8], room: &'a mut String) -> &'a str {
        // Most lines are ASCII, and then all encodings agree; and most logs are UTF-8.
        if self == Encoding::Utf8 || line.is_ascii() {
            if let Ok(text) = std::str::from_utf8(line) {
                return text;
            }
        }
        room.clear();
        match self {
            Encoding::Utf8 => room.push_str(&String::from_utf8_lossy(line)),
            Encoding::Ascii => room.extend(line.iter().map(|b| match b {
                0..128 => char::from(*b),
                _ => char::REPLACEMENT_CHARACTER,
            })),
            Encoding::Latin1 => room.extend(line.iter().map(|b| char::from(*b))),
            Encoding::Other(e) => room.push_str(&e.decode_without_bom_handling(line).0),
        }
        room
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Ascii => "US-ASCII",
            Encoding::Latin1 => "ISO-8859-1",
            Encoding::Other(e) if e == WINDOWS_1252 => "windows-1252",
            Encoding::Other(e) => e.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_python_and_of_the_standard() {
        for (name, want) in [
            ("UTF-8", "UTF-8"),
            ("utf_8", "UTF-8"),
            ("ascii", "US-ASCII"),
            ("latin_1", "ISO-8859-1"),
            ("ISO-8859-1", "ISO-8859-1"),
            ("iso8859-15", "ISO-8859-15"),
            ("latin-2", "ISO-8859-2"),
            ("cp1252", "windows-1252"),
            ("cp1251", "windows-1251"),
            ("koi8_r", "KOI8-R"),
            ("euc_jp", "EUC-JP"),
            ("shift_jis", "Shift_JIS"),
            ("gb18030", "gb18030"),
            ("big5", "Big5"),
        ] {
            assert_eq!(Encoding::of(name).map(Encoding::name), Some(want), "{name}");
        }
        for name in ["", "utf-16", "utf-16le", "iso-2022-jp", "nonsense", "idna"] {
            assert_eq!(Encoding::of(name), None, "{name}");
        }
    }

    #[test]
    fn the_locale_decides_where_nothing_is_said() {
        let of = |all: &[(&str, &str)]| {
            let get = |n: &str| all.iter().find(|v| v.0 == n).map(|v| v.1.to_owned());
            Encoding::of_locale(get)
        };
        assert_eq!(of(&[]), Encoding::Utf8);
        assert_eq!(of(&[("LANG", "C")]), Encoding::Utf8);
        assert_eq!(of(&[("LANG", "de_DE.ISO-8859-1@euro")]), Encoding::Latin1);
        assert_eq!(
            of(&[
                ("LC_ALL", ""),
                ("LC_CTYPE", "ru_RU.KOI8-R"),
                ("LANG", "C.UTF-8")
            ])
            .name(),
            "KOI8-R"
        );
    }

    #[test]
    fn octets_become_what_they_mean() {
        let mut room = String::new();
        let line = b"user J\xfcrgen";
        assert_eq!(Encoding::Latin1.decode(line, &mut room), "user Jürgen");
        assert_eq!(Encoding::Utf8.decode(line, &mut room), "user J\u{fffd}rgen");
        assert_eq!(
            Encoding::Ascii.decode(line, &mut room),
            "user J\u{fffd}rgen"
        );
        let utf8 = "user Jürgen".as_bytes();
        assert_eq!(Encoding::Utf8.decode(utf8, &mut room), "user Jürgen");
        assert_eq!(
            Encoding::Ascii.decode(utf8, &mut room),
            "user J\u{fffd}\u{fffd}rgen"
        );
        let japanese = Encoding::of("euc-jp").unwrap();
        assert_eq!(japanese.decode(b"\xb5\xec", &mut room), "旧");
        let russian = Encoding::of("koi8-r").unwrap();
        assert_eq!(russian.decode(b"\xcd\xc9\xd2", &mut room), "мир");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_octets_in_any_encoding(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut room = String::new();
            for name in ["utf-8", "ascii", "latin1", "shift_jis", "gb18030", "windows-1252"] {
                let e = Encoding::of(name).unwrap();
                let text = e.decode(&line, &mut room).to_owned();
                // What is ASCII stays so, whatever stands around it.
                if matches!(e, Encoding::Utf8 | Encoding::Ascii | Encoding::Latin1) {
                    let ascii = |b: &u8| b.is_ascii();
                    prop_assert_eq!(
                        line.iter().filter(|b| ascii(b)).count(),
                        text.chars().filter(char::is_ascii).count()
                    );
                }
                prop_assert!(text.len() <= 3 * line.len());
            }
        }
    }
}
