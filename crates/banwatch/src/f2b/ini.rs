//! One configuration file of fail2ban: sections, options, values over several lines.
//!
//! The syntax is that of Python's `configparser` with `;` as inline comment.

use std::collections::BTreeMap;

/// Largest configuration file, in octets.
pub const FILE_MAX: usize = 1 << 20;
/// Most options in one file.
pub const OPTIONS_MAX: usize = 20_000;

/// Option names (lower case) and their raw values, lines joined by `\n`.
pub type Section = BTreeMap<String, String>;

/// A file as read, before anything is substituted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ini {
    /// `[DEFAULT]`.
    pub defaults: Section,
    /// The other sections in the order of the file.
    pub sections: Vec<(String, Section)>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IniError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl std::fmt::Display for IniError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for IniError {}

struct Open {
    section: usize,
    name: String,
    lines: Vec<String>,
    indent: usize,
}

/// Where values go: 0 is `[DEFAULT]`, n the section n-1.
fn section_mut(ini: &mut Ini, n: usize) -> Option<&mut Section> {
    match n.checked_sub(1) {
        None => Some(&mut ini.defaults),
        Some(i) => ini.sections.get_mut(i).map(|s| &mut s.1),
    }
}

fn finish(ini: &mut Ini, open: &mut Option<Open>) {
    if let Some(o) = open.take() {
        let value = o.lines.join("\n").trim_end().to_owned();
        if let Some(s) = section_mut(ini, o.section) {
            s.insert(o.name, value);
        }
    }
}

/// Cuts a comment off: a line that begins with `#` or `;`, or ` ;` inside one.
fn uncomment(line: &str) -> (&str, bool) {
    let trimmed = line.trim_start();
    if trimmed.starts_with('#') || trimmed.starts_with(';') {
        return ("", true);
    }
    let bytes = line.as_bytes();
    for at in memchr::memchr_iter(b';', bytes) {
        let before = line.get(..at).unwrap_or("");
        if at == 0 || before.ends_with(|c: char| c.is_whitespace()) {
            return (before, true);
        }
    }
    (line, false)
}

impl Ini {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`IniError`] with the line: text before any section, a line without `=` or `:`, an option
    /// twice in one section, a section twice, or beyond [`FILE_MAX`] and [`OPTIONS_MAX`].
    pub fn parse(text: &str) -> Result<Ini, IniError> {
        let mut ini = Ini::default();
        let mut open: Option<Open> = None;
        let mut current: Option<usize> = None;
        let mut options = 0usize;
        if text.len() > FILE_MAX {
            return Err(IniError {
                line: 0,
                what: "file too large",
            });
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (i, raw) in text.split('\n').enumerate() {
            let fail = |what| Err(IniError { line: i + 1, what });
            let (code, comment) = uncomment(raw);
            let value = code.trim();
            if value.is_empty() {
                if let (false, Some(o)) = (comment, &mut open) {
                    o.lines.push(String::new());
                }
                continue;
            }
            let indent = raw.chars().take_while(|c| c.is_whitespace()).count();
            if let Some(o) = &mut open {
                if indent > o.indent {
                    o.lines.push(value.to_owned());
                    continue;
                }
            }
            finish(&mut ini, &mut open);
            if let Some((name, _)) = value.strip_prefix('[').and_then(|v| v.rsplit_once(']')) {
                if name.is_empty() {
                    return fail("section without a name");
                }
                current = Some(if name == "DEFAULT" {
                    0
                } else if ini.sections.iter().any(|s| s.0 == name) {
                    return fail("section for the second time");
                } else {
                    ini.sections.push((name.to_owned(), Section::new()));
                    ini.sections.len()
                });
                continue;
            }
            let Some(section) = current else {
                return fail("option outside of any section");
            };
            let Some(at) = value.find(['=', ':']) else {
                return fail("neither = nor :");
            };
            let name = value.get(..at).unwrap_or("").trim_end().to_lowercase();
            let first = value.get(at + 1..).unwrap_or("").trim();
            if name.is_empty() {
                return fail("option without a name");
            }
            options += 1;
            if options > OPTIONS_MAX {
                return fail("too many options");
            }
            if section_mut(&mut ini, section).is_some_and(|s| s.contains_key(&name)) {
                return fail("option for the second time");
            }
            open = Some(Open {
                section,
                name,
                lines: vec![first.to_owned()],
                indent,
            });
        }
        finish(&mut ini, &mut open);
        Ok(ini)
    }

    /// A section by name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.0 == name).map(|s| &s.1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_syntax_of_configparser() {
        let ini = Ini::parse(
            "# top\n[DEFAULT]\nA = 1 ; note\nb: x;y\n\n[One]\nlist = a\n  b\n# gone\n\n   c = d\n\nend =\n[Init?family=inet6]\nx=1\n",
        )
        .unwrap();
        assert_eq!(ini.defaults["a"], "1");
        assert_eq!(ini.defaults["b"], "x;y");
        let one = ini.section("One").unwrap();
        assert_eq!(one["list"], "a\nb\n\nc = d");
        assert_eq!(one["end"], "");
        assert_eq!(ini.section("Init?family=inet6").unwrap()["x"], "1");
        // only what stands further in belongs to the value
        let ini = Ini::parse("[a]\n  x = 1\n  y = 2\n   z = 3\n").unwrap();
        assert_eq!(ini.section("a").unwrap()["x"], "1");
        assert_eq!(ini.section("a").unwrap()["y"], "2\nz = 3");
    }

    #[test]
    fn what_is_refused() {
        for (text, line) in [
            ("a = 1", 1),
            ("[a]\nnothing", 2),
            ("[a]\nx=1\nX=2", 3),
            ("[a]\n[a]", 2),
            ("[a]\n = 1", 2),
        ] {
            assert_eq!(Ini::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn limits() {
        let file = |n: usize| {
            let mut s = String::from("[a]\n");
            for i in 0..n {
                s.push_str(&format!("k{i}=\n"));
            }
            s
        };
        assert!(Ini::parse(&file(OPTIONS_MAX)).is_ok());
        assert!(Ini::parse(&file(OPTIONS_MAX + 1)).is_err());
        let head = "[a]\nk=";
        let long = |n: usize| format!("{head}{}", "x".repeat(n - head.len()));
        assert!(Ini::parse(&long(FILE_MAX)).is_ok());
        assert!(Ini::parse(&long(FILE_MAX + 1)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_text(text in "(\\[[a-c]\\]|[a-d =:;#\\n\\t]|\\PC){0,60}") {
            let _ = Ini::parse(&text);
        }
    }
}
