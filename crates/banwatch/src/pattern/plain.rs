//! Says a pattern to the `regex` crate: exactly where it can, else a little too generously.

use std::fmt::Write;

use super::ast::{Assert, Kind, Node};
use super::charset::{CharSet, High};

/// The pattern in `regex`'s syntax, groups numbered alike.
///
/// Look-around, back-references, conditionals and atomic groups are replaced by something that
/// matches at least as much, so that a text this refuses can't match the original.
pub(crate) fn translate(node: &Node) -> String {
    let mut out = String::new();
    write_node(node, &mut out);
    out
}

fn write_char(c: char, out: &mut String) {
    if c.is_ascii_alphanumeric() || c == '_' || c == ' ' || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:x}}}", c as u32);
    }
}

fn write_set(s: &CharSet, out: &mut String) {
    if *s == CharSet::every() {
        out.push_str("(?s:.)");
        return;
    }
    let mut items = String::new();
    let mut u = 0u32;
    while u < 128 {
        if s.ascii >> u & 1 == 0 {
            u += 1;
            continue;
        }
        let start = u;
        while u < 128 && s.ascii >> u & 1 == 1 {
            u += 1;
        }
        let _ = write!(items, "\\x{{{:x}}}-\\x{{{:x}}}", start, u - 1);
    }
    match &s.high {
        High::None => {}
        High::All => items.push_str("\\x{80}-\\x{10ffff}"),
        High::Ask(t) => {
            let mut inner = String::new();
            if t.everything {
                inner.push_str("\\x{80}-\\x{10ffff}");
            }
            for (flag, class) in [
                (t.word, "\\w"),
                (t.not_word, "\\W"),
                (t.space, "\\s"),
                (t.not_space, "\\S"),
            ] {
                if flag {
                    inner.push_str(class);
                }
            }
            for (a, b) in &t.ranges {
                let _ = write!(inner, "\\x{{{a:x}}}-\\x{{{b:x}}}");
            }
            let not = if t.negate { "^" } else { "" };
            let _ = write!(items, "[[\\x{{80}}-\\x{{10ffff}}]&&[{not}{inner}]]");
        }
    }
    if items.is_empty() {
        // a set nothing is in: \A that can't hold after a character
        out.push_str("[^\\x{0}-\\x{10ffff}]");
    } else {
        let _ = write!(out, "[{items}]");
    }
}

fn write_node(node: &Node, out: &mut String) {
    match node {
        Node::Empty | Node::Look { .. } => out.push_str("(?:)"),
        Node::Char(c) => write_char(*c, out),
        Node::Set(s) => write_set(s, out),
        Node::Concat(v) => v.iter().for_each(|n| write_node(n, out)),
        Node::Alt(v) => alternatives(v.iter(), out),
        Node::Repeat {
            node,
            min,
            max,
            kind,
        } => {
            out.push_str("(?:");
            write_node(node, out);
            out.push(')');
            let _ = match max {
                Some(m) => write!(out, "{{{min},{m}}}"),
                None => write!(out, "{{{min},}}"),
            };
            if *kind == Kind::Lazy {
                out.push('?');
            }
        }
        Node::Group { node, .. } => {
            out.push('(');
            write_node(node, out);
            out.push(')');
        }
        Node::Atomic(node) => {
            out.push_str("(?:");
            write_node(node, out);
            out.push(')');
        }
        Node::Assert(a) => out.push_str(match a {
            Assert::Start => "\\A",
            Assert::VeryEnd => "\\z",
            Assert::End => "(?:\\z|(?m:$)\\n?\\z)",
            Assert::LineStart => "(?m:^)",
            Assert::LineEnd => "(?m:$)",
            Assert::WordEdge => "\\b",
            Assert::NotWordEdge => "\\B",
        }),
        Node::BackRef { .. } => out.push_str("(?s:.*)"),
        Node::Cond { yes, no, .. } => alternatives([&**yes, &**no].into_iter(), out),
    }
}

fn alternatives<'a>(branches: impl Iterator<Item = &'a Node>, out: &mut String) {
    out.push_str("(?:");
    for (i, b) in branches.enumerate() {
        if i > 0 {
            out.push('|');
        }
        write_node(b, out);
    }
    out.push(')');
}
