//! A pull parser for the little XML that reports need: elements and text. Attributes, comments
//! and processing instructions are passed over; document types are refused, as they can make
//! text grow.

use std::fmt;

/// Deepest nesting; reports have five levels.
pub const DEPTH_MAX: usize = 32;

/// Longest element name in octets.
const NAME_MAX: usize = 256;

/// Why a text is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlError {
    /// Something is not closed, or closed that was not opened.
    Syntax,
    /// More than [`DEPTH_MAX`] elements inside each other.
    TooDeep,
    /// A document type or an entity of it.
    Entity,
    /// The text ends inside an element.
    Cut,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not well-formed XML",
            Self::TooDeep => "XML is nested too deep",
            Self::Entity => "XML with a document type or unknown entities",
            Self::Cut => "XML ends too early",
        })
    }
}

/// What comes next. Names are without their namespace prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    Start(&'a str),
    /// The element and all text directly inside it, cut to the limit, entities undone.
    End(&'a str, String),
}

/// One element that is open.
#[derive(Debug)]
struct Open<'a> {
    /// With its prefix, as the end tag must repeat it.
    name: &'a str,
    text: String,
}

/// The parser.
#[derive(Debug)]
pub(super) struct Xml<'a> {
    rest: &'a str,
    open: Vec<Open<'a>>,
    /// An element `<x/>` whose end is still to be told.
    empty: bool,
    seen: bool,
    text_max: usize,
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

impl<'a> Xml<'a> {
    pub(super) fn new(text: &'a str, text_max: usize) -> Self {
        Self {
            rest: text.trim_start_matches('\u{feff}'),
            open: Vec::new(),
            empty: false,
            seen: false,
            text_max,
        }
    }

    /// The next event; `None` after the end of the outermost element.
    pub(super) fn next(&mut self) -> Result<Option<Event<'a>>, XmlError> {
        if std::mem::take(&mut self.empty) {
            return self.close().map(Some);
        }
        if self.seen && self.open.is_empty() {
            return Ok(None);
        }
        loop {
            let Some(at) = memchr::memchr(b'<', self.rest.as_bytes()) else {
                return Err(XmlError::Cut);
            };
            let (text, markup) = self.rest.split_at_checked(at).ok_or(XmlError::Syntax)?;
            self.add_text(text, true)?;
            if let Some(after) = markup.strip_prefix("<!--") {
                self.rest = skip(after, "-->")?;
            } else if let Some(after) = markup.strip_prefix("<![CDATA[") {
                let (data, rest) = after.split_once("]]>").ok_or(XmlError::Cut)?;
                self.add_text(data, false)?;
                self.rest = rest;
            } else if let Some(after) = markup.strip_prefix("<?") {
                self.rest = skip(after, "?>")?;
            } else if markup.starts_with("<!") {
                return Err(XmlError::Entity);
            } else if let Some(after) = markup.strip_prefix("</") {
                let (name, rest) = after.split_once('>').ok_or(XmlError::Cut)?;
                self.rest = rest;
                let open = self.open.last().ok_or(XmlError::Syntax)?;
                if name.trim_end() != open.name {
                    return Err(XmlError::Syntax);
                }
                return self.close().map(Some);
            } else {
                return self.start(markup.get(1..).unwrap_or_default()).map(Some);
            }
        }
    }

    fn start(&mut self, after: &'a str) -> Result<Event<'a>, XmlError> {
        let end = tag_end(after)?;
        let (tag, rest) = after.split_at_checked(end).ok_or(XmlError::Syntax)?;
        self.rest = rest.get(1..).unwrap_or_default();
        let (tag, empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next();
        let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_MAX);
        let name = name.ok_or(XmlError::Syntax)?;
        if self.open.len() == DEPTH_MAX {
            return Err(XmlError::TooDeep);
        }
        self.seen = true;
        self.empty = empty;
        self.open.push(Open {
            name,
            text: String::new(),
        });
        Ok(Event::Start(local(name)))
    }

    fn close(&mut self) -> Result<Event<'a>, XmlError> {
        let Open { name, text } = self.open.pop().ok_or(XmlError::Syntax)?;
        Ok(Event::End(local(name), text))
    }

    fn add_text(&mut self, text: &str, entities: bool) -> Result<(), XmlError> {
        let Some(open) = self.open.last_mut() else {
            return match text.trim().is_empty() {
                true => Ok(()),
                false => Err(XmlError::Syntax),
            };
        };
        let mut rest = text;
        while !rest.is_empty() && open.text.len() < self.text_max {
            let at = match entities {
                true => memchr::memchr(b'&', rest.as_bytes()).unwrap_or(rest.len()),
                false => rest.len(),
            };
            let (plain, after) = rest.split_at_checked(at).ok_or(XmlError::Syntax)?;
            open.text.push_str(plain);
            rest = after;
            if let Some(after) = rest.strip_prefix('&') {
                let (name, after) = after.split_once(';').ok_or(XmlError::Entity)?;
                open.text.push(entity(name).ok_or(XmlError::Entity)?);
                rest = after;
            }
        }
        let mut end = open.text.len().min(self.text_max);
        while !open.text.is_char_boundary(end) {
            end -= 1;
        }
        open.text.truncate(end);
        Ok(())
    }
}

fn skip<'a>(text: &'a str, until: &str) -> Result<&'a str, XmlError> {
    let (_, rest) = text.split_once(until).ok_or(XmlError::Cut)?;
    Ok(rest)
}

/// Where the `>` of a tag is; those inside quoted attribute values are none.
fn tag_end(text: &str) -> Result<usize, XmlError> {
    let mut quote = None;
    for (at, b) in text.bytes().enumerate() {
        match (quote, b) {
            (None, b'>') => return Ok(at),
            (None, b'<') => return Err(XmlError::Syntax),
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(open), b) if open == b => quote = None,
            _ => {}
        }
    }
    Err(XmlError::Cut)
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// Adds text as XML wants it; characters that XML can't hold become `?`.
pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c if c < ' ' => out.push('?'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<String>, XmlError> {
        let mut xml = Xml::new(text, 20);
        let mut found = Vec::new();
        while let Some(event) = xml.next()? {
            found.push(match event {
                Event::Start(name) => format!("<{name}"),
                Event::End(name, text) => format!("{name}={text}"),
            });
        }
        Ok(found)
    }

    #[test]
    fn reads() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<!-- < --><n:a x='>'>1<b/>&lt;&#65;&#x42;<![CDATA[<&]]></n:a>\n";
        assert_eq!(events(text).unwrap(), ["<a", "<b", "b=", "a=1<AB<&"]);
        assert_eq!(
            events("<a>123456789012345678\u{e9}0</a>").unwrap()[1],
            "a=123456789012345678\u{e9}"
        );
        assert_eq!(
            events("<a>1234567890123456789\u{e9}</a>").unwrap()[1],
            "a=1234567890123456789"
        );
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            ("", XmlError::Cut),
            ("x", XmlError::Cut),
            ("x<a/>", XmlError::Syntax),
            ("<a>", XmlError::Cut),
            ("<a", XmlError::Cut),
            ("<a x='></a>", XmlError::Cut),
            ("<a></b>", XmlError::Syntax),
            ("</a>", XmlError::Syntax),
            ("< a/>", XmlError::Syntax),
            ("<a<b/>", XmlError::Syntax),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", XmlError::Entity),
            ("<a>&b;</a>", XmlError::Entity),
            ("<a>&#55296;</a>", XmlError::Entity),
        ] {
            assert_eq!(events(text), Err(error), "{text}");
        }
    }

    #[test]
    fn depth() {
        for (depth, good) in [
            (DEPTH_MAX - 1, true),
            (DEPTH_MAX, true),
            (DEPTH_MAX + 1, false),
        ] {
            let text = format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
            assert_eq!(events(&text).is_ok(), good);
        }
    }
}
