//! A pattern as a tree.

use super::charset::CharSet;

/// A piece of a pattern.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Empty,
    Char(char),
    Set(CharSet),
    Concat(Vec<Node>),
    Alt(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: Kind,
    },
    Group {
        index: usize,
        node: Box<Node>,
    },
    Assert(Assert),
    Look {
        behind: bool,
        negate: bool,
        node: Box<Node>,
    },
    BackRef {
        group: usize,
        fold: bool,
    },
    Cond {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
    Atomic(Box<Node>),
}

/// How a repetition chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A condition on a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assert {
    /// `\A`, and `^` without MULTILINE.
    Start,
    /// `$` without MULTILINE: at the end or before a last newline.
    End,
    /// `^` with MULTILINE.
    LineStart,
    /// `$` with MULTILINE.
    LineEnd,
    /// `\Z`.
    VeryEnd,
    WordEdge,
    NotWordEdge,
}

impl Node {
    /// Length of what it matches, in characters, where that is one number.
    pub(crate) fn width(&self) -> Option<u32> {
        match self {
            Node::Empty | Node::Assert(_) | Node::Look { .. } => Some(0),
            Node::Char(_) | Node::Set(_) => Some(1),
            Node::Concat(v) => v.iter().try_fold(0u32, |n, x| n.checked_add(x.width()?)),
            Node::Alt(v) => {
                let mut widths = v.iter().map(Node::width);
                let first = widths.next()??;
                widths.all(|w| w == Some(first)).then_some(first)
            }
            Node::Repeat { node, min, max, .. } => {
                if *max == Some(*min) {
                    node.width()?.checked_mul(*min)
                } else {
                    None
                }
            }
            Node::Group { node, .. } | Node::Atomic(node) => node.width(),
            Node::BackRef { .. } => None,
            Node::Cond { yes, no, .. } => {
                let w = yes.width()?;
                (no.width()? == w).then_some(w)
            }
        }
    }

    /// Whether Rust's `regex` can say the same: no look-around, back-reference, conditional
    /// or atomic group.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Node::Look { .. } | Node::BackRef { .. } | Node::Cond { .. } | Node::Atomic(_) => false,
            Node::Repeat {
                kind: Kind::Possessive,
                ..
            } => false,
            Node::Repeat { node, .. } | Node::Group { node, .. } => node.is_plain(),
            Node::Concat(v) | Node::Alt(v) => v.iter().all(Node::is_plain),
            Node::Empty | Node::Char(_) | Node::Set(_) | Node::Assert(_) => true,
        }
    }
}
