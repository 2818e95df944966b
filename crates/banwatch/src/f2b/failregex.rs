//! fail2ban's additions to regular expressions: `<HOST>`, `<F-USER>…</F-USER>` and the like.

use std::collections::HashSet;

use crate::pattern::{Pattern, PatternError};

const IP4: &str = r"(?:::f{4,6}:)?(?P<ip4>\d{1,3}(?:\.\d{1,3}){3})";
/// Without look-behind, so that a pattern with an address stays a plain one.
const IP6: &str = "(?P<ip6>(?:(?:[0-9a-fA-F]{1,4}::?|::){1,7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}::?|::){0,6}(?:[0-9a-fA-F]{1,4})?::))";
const DNS: &str = r"(?P<dns>[\w.^-]*\w)";
const CIDR: &str = r"(?P<cidr>\d+)";

/// How host names in lines are treated (`usedns`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UseDns {
    /// Looked up.
    Yes,
    /// Looked up, with a warning.
    #[default]
    Warn,
    /// `<HOST>` stands for addresses only.
    No,
    /// Taken as they are.
    Raw,
}

impl UseDns {
    /// Reads the option's value.
    #[must_use]
    pub fn parse(text: &str) -> Option<UseDns> {
        Some(match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "1" | "on" => UseDns::Yes,
            "warn" => UseDns::Warn,
            "no" | "false" | "0" | "off" => UseDns::No,
            "raw" => UseDns::Raw,
            _ => return None,
        })
    }
}

/// Puts regular expressions in place of the tags.
#[must_use]
pub fn expand(regex: &str, dns: UseDns) -> String {
    let addr = || format!(r"\[?(?:{IP4}|{IP6})\]?");
    let mut out = String::with_capacity(regex.len() * 2);
    let mut open: HashSet<String> = HashSet::new();
    let mut skips = 0;
    let mut rest = regex;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let name_end = after
            .char_indices()
            .find(|&(i, c)| !(c.is_alphanumeric() || c == '_' || c == '-' || (i == 0 && c == '/')))
            .map_or(after.len(), |(i, _)| i);
        let (name, tail) = after.split_at(name_end);
        let (name, tail) = match tail.strip_prefix("/>") {
            Some(t) if !name.is_empty() => (format!("{name}/"), Some(t)),
            _ => (name.to_owned(), tail.strip_prefix('>')),
        };
        let Some(tail) = tail.filter(|_| !name.trim_matches('/').is_empty()) else {
            out.push('<');
            rest = after;
            continue;
        };
        rest = tail;
        match name.as_str() {
            "HOST" if dns == UseDns::No => out.push_str(&addr()),
            "HOST" => out.push_str(&format!("(?:{}|{DNS})", addr())),
            "ADDR" | "F-ADDR/" => out.push_str(&addr()),
            "IP4" | "F-IP4/" => out.push_str(IP4),
            "IP6" | "F-IP6/" => out.push_str(IP6),
            "DNS" | "F-DNS/" => out.push_str(DNS),
            "CIDR" | "F-CIDR/" => out.push_str(CIDR),
            "SUBNET" | "F-SUBNET/" => {
                out.push_str(&format!(r"\[?(?:{IP4}|{IP6})(?:/{CIDR})?\]?"));
            }
            "F-ID/" => out.push_str(r"(?P<fid>\S+)"),
            "F-PORT/" => out.push_str(r"(?P<fport>\w+)"),
            "SKIPLINES" => {
                out.push_str(&format!(r"\n(?P<skiplines{skips}>(?:(?:.*\n)*?))"));
                skips += 1;
            }
            other => {
                let custom = |s: &str| {
                    s.strip_prefix("F-").map(str::to_owned).filter(|n| {
                        !n.is_empty()
                            && n.bytes().all(|b| {
                                b.is_ascii_uppercase() || b.is_ascii_digit() || b"_-".contains(&b)
                            })
                    })
                };
                if let Some(n) = other.strip_prefix('/').and_then(custom) {
                    if open.contains(&n) {
                        out.push(')');
                        continue;
                    }
                } else if let Some(n) = custom(other) {
                    out.push_str(&format!("(?P<{}>", option_name(&n.to_ascii_lowercase())));
                    open.insert(n);
                    continue;
                }
                out.push('<');
                out.push_str(other);
                out.push('>');
            }
        }
    }
    out.push_str(rest);
    local_flags(&out)
}

/// `id` is the failure's identity, `port` its port.
#[must_use]
pub fn option_name(tag: &str) -> String {
    match tag {
        "id" => "fid".to_owned(),
        "port" => "fport".to_owned(),
        t => t.to_owned(),
    }
}

/// `((?i)a|b)` and `(?:(?i)a|b)` mean `(?i:a|b)`.
fn local_flags(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some(at) = rest.find("(?") {
        let (head, tail) = rest.split_at(at);
        let letters = tail
            .bytes()
            .skip(2)
            .take_while(u8::is_ascii_lowercase)
            .count();
        let closed = letters > 0 && tail.as_bytes().get(2 + letters) == Some(&b')');
        out.push_str(head);
        let outer = ["(?:", "("].iter().find(|o| out.ends_with(**o)).copied();
        match outer {
            Some(o) if closed && !out[..out.len() - o.len()].ends_with('\\') => {
                out.truncate(out.len() - o.len());
                out.push_str(tail.get(..2 + letters).unwrap_or(""));
                out.push(':');
                rest = tail.get(3 + letters..).unwrap_or("");
            }
            _ => {
                // `(?:` may be the outer one of what follows: keep it whole
                let n = if tail.starts_with("(?:") { 3 } else { 2 };
                out.push_str(tail.get(..n).unwrap_or(""));
                rest = tail.get(n..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    out
}

/// Groups by which a failure, or the session it belongs to, can be told.
const IDENTITY: [&str; 5] = ["fid", "ip4", "ip6", "dns", "mlfid"];

/// Whether a pattern says who is meant.
#[must_use]
pub fn identifies(p: &Pattern) -> bool {
    IDENTITY.iter().any(|g| p.group(g).is_some())
}

/// Expands and compiles.
///
/// # Errors
/// [`PatternError`] for an empty pattern and for what can't be taken over.
pub fn compile(regex: &str, dns: UseDns, multiline: bool) -> Result<Pattern, PatternError> {
    let expanded = expand(regex, dns);
    if expanded.trim().is_empty() {
        return Err(PatternError::Syntax {
            at: 0,
            what: "empty pattern",
        });
    }
    Pattern::new(&expanded, multiline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Machine, Outcome};

    #[test]
    fn tags() {
        let x = |r: &str| expand(r, UseDns::Warn);
        assert_eq!(x("<F-USER>a|b</F-USER>"), "(?P<user>a|b)");
        assert_eq!(
            x("</F-USER> <STDIN> <a b> < <>"),
            "</F-USER> <STDIN> <a b> < <>"
        );
        assert_eq!(
            x("<F-ID/> <F-PORT>\\d</F-PORT>"),
            "(?P<fid>\\S+) (?P<fport>\\d)"
        );
        assert!(x("a<SKIPLINES>b<SKIPLINES>").contains("skiplines1"));
        assert!(!expand("<HOST>", UseDns::No).contains("dns"));
        assert_eq!(
            x("user=<<F-USER>[^>]*</F-USER>>,"),
            "user=<(?P<user>[^>]*)>,"
        );
    }

    #[test]
    fn flags() {
        assert_eq!(local_flags("a((?i)x|y)b"), "a(?i:x|y)b");
        assert_eq!(local_flags("(?:(?i)x)"), "(?i:x)");
        assert_eq!(local_flags("(?i)x(?:y)(?!z)"), "(?i)x(?:y)(?!z)");
        assert_eq!(local_flags(r"\((?i)x"), r"\((?i)x");
    }

    #[test]
    fn hosts() {
        let p = compile("^from <HOST>$", UseDns::Warn, false).unwrap();
        assert!(p.is_plain());
        let mut m = Machine::default();
        for (text, group, want) in [
            ("from 192.0.2.1\n", "ip4", "192.0.2.1"),
            ("from ::ffff:192.0.2.1\n", "ip4", "192.0.2.1"),
            ("from [2001:db8::1]\n", "ip6", "2001:db8::1"),
            ("from 2001:db8::\n", "ip6", "2001:db8::"),
            ("from ::1\n", "ip6", "::1"),
            ("from mail.example.com\n", "dns", "mail.example.com"),
        ] {
            assert_eq!(p.search(text, &mut m), Outcome::Match, "{text}");
            assert_eq!(m.text(p.group(group).unwrap(), text), Some(want));
        }
        assert_eq!(p.search("from a b\n", &mut m), Outcome::NoMatch);
    }
}
