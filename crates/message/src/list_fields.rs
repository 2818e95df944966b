//! The fields of mailing lists (RFC 2369, RFC 2919, RFC 8058).

use memchr::memchr;

use crate::words;

/// Most addresses read of one List field.
pub const URLS_MAX: usize = 20;

/// List-Id: a name for people and an id for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListId {
    /// The phrase before the bracket, decoded.
    pub name: Option<String>,
    /// What stands in the brackets, such as `users.lists.example.org`, without white space.
    pub id: String,
}

impl ListId {
    /// Reads a field body; `None` when there is no id. Ids are compared without letter case (RFC 2919 6).
    pub fn read(body: &[u8]) -> Option<ListId> {
        let open = memchr::memrchr(b'<', body)?;
        let close = memchr(b'>', body.get(open..)?)?;
        let inner = body.get(open + 1..open + close)?;
        let id: String = String::from_utf8_lossy(inner)
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control())
            .collect();
        if id.is_empty() {
            return None;
        }
        let name = words::decode(body.get(..open)?);
        let name = name.trim().trim_matches('"').trim();
        Some(ListId {
            name: if name.is_empty() {
                None
            } else {
                Some(name.to_owned())
            },
            id,
        })
    }
}

/// What a List-Post, List-Unsubscribe … field offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListAction {
    /// `NO`: not possible (RFC 2369 3.4).
    No,
    /// URLs in the order in which the list prefers them, at most [`URLS_MAX`].
    Urls(Vec<String>),
}

/// Reads the body of one of those fields. White space inside a URL, which folding leaves, is removed.
pub fn list_action(body: &[u8]) -> ListAction {
    let mut urls = Vec::new();
    let mut rest = body;
    while urls.len() < URLS_MAX {
        let Some(open) = memchr(b'<', rest) else {
            break;
        };
        if urls.is_empty() && is_no(rest.get(..open).unwrap_or_default()) {
            return ListAction::No;
        }
        rest = rest.get(open + 1..).unwrap_or_default();
        let Some(close) = memchr(b'>', rest) else {
            break;
        };
        let (inner, after) = rest.split_at(close);
        rest = after;
        let url: String = String::from_utf8_lossy(inner)
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_control())
            .collect();
        // Only what a person can follow; anything else (javascript, file) is not for clients.
        let scheme = url
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if matches!(
            scheme.as_str(),
            "mailto" | "http" | "https" | "ftp" | "nntp" | "news"
        ) {
            urls.push(url);
        }
    }
    if urls.is_empty() && is_no(body) {
        ListAction::No
    } else {
        ListAction::Urls(urls)
    }
}

fn is_no(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let word = text
        .split(|b| b.is_ascii_whitespace() || *b == b'(')
        .next()
        .unwrap_or_default();
    word.eq_ignore_ascii_case(b"no")
}

/// Whether List-Unsubscribe-Post allows unsubscribing by one POST (RFC 8058 3.1).
pub fn one_click(body: &[u8]) -> bool {
    body.trim_ascii()
        .eq_ignore_ascii_case(b"List-Unsubscribe=One-Click")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let read =
            |body: &str| ListId::read(body.as_bytes()).map(|l| (l.name.unwrap_or_default(), l.id));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            read("List Header Mailing List <list-header.nisto.com>"),
            pair("List Header Mailing List", "list-header.nisto.com")
        );
        assert_eq!(
            read("<commonspace-users.list-id.within.com>"),
            pair("", "commonspace-users.list-id.within.com")
        );
        assert_eq!(
            read("\"Lena's <Personal> Joke List\"\r\n <lenas-jokes.example>"),
            pair("Lena's <Personal> Joke List", "lenas-jokes.example")
        );
        assert_eq!(read("=?utf-8?B?6aOb6ISa?= <a.b>"), pair("飛脚", "a.b"));
        assert_eq!(
            (read("none"), read("<>"), read("x <open")),
            (None, None, None)
        );
    }

    #[test]
    fn actions() {
        let urls = |body: &str| match list_action(body.as_bytes()) {
            ListAction::No => vec!["NO".to_owned()],
            ListAction::Urls(urls) => urls,
        };
        assert_eq!(urls("NO (posting not allowed)"), ["NO"]);
        assert_eq!(
            urls("(Use this) <mailto:list@host.com?subject=help>,\r\n <https://host\r\n .com/x>"),
            ["mailto:list@host.com?subject=help", "https://host.com/x"]
        );
        assert_eq!(urls("<javascript:x>, <file:///etc/passwd>"), [""; 0]);
        assert_eq!(urls(&"<mailto:a>".repeat(URLS_MAX + 1)).len(), URLS_MAX);
        assert!(
            one_click(b" List-Unsubscribe=One-Click\r\n") && !one_click(b"List-Unsubscribe=Two")
        );
    }
}
