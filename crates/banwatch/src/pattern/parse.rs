//! Reads Python's regular expression syntax.

use super::ast::{Assert, Kind, Node};
use super::charset::{CharSet, SetBuilder};
use super::{DEPTH_MAX, PATTERN_MAX, PatternError, REPEAT_MAX};

/// A pattern read, with the names of its groups (index 0 is the whole match).
pub(crate) struct Parsed {
    pub(crate) node: Node,
    pub(crate) names: Vec<Option<String>>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multiline: bool,
    dotall: bool,
    verbose: bool,
}

struct Parser<'a> {
    src: &'a str,
    pos: usize,
    names: Vec<Option<String>>,
    closed: Vec<bool>,
    flags: Flags,
    depth: usize,
}

/// Reads `src`.
///
/// # Errors
/// What Python would refuse, and what is longer or deeper than our limits.
pub(crate) fn parse(src: &str, multiline: bool) -> Result<Parsed, PatternError> {
    if src.len() > PATTERN_MAX {
        return Err(PatternError::TooLarge);
    }
    let mut p = Parser {
        src,
        pos: 0,
        names: vec![None],
        closed: vec![false],
        flags: Flags {
            multiline,
            ..Flags::default()
        },
        depth: 0,
    };
    p.global_flags();
    let node = p.alternation()?;
    if p.pos < src.len() {
        return p.fail("unbalanced parenthesis");
    }
    Ok(Parsed {
        node,
        names: p.names,
    })
}

impl Parser<'_> {
    fn fail<T>(&self, what: &'static str) -> Result<T, PatternError> {
        Err(PatternError::Syntax { at: self.pos, what })
    }

    fn rest(&self) -> &str {
        self.src.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, s: &str) -> bool {
        let hit = self.rest().starts_with(s);
        if hit {
            self.pos += s.len();
        }
        hit
    }

    /// Flags written outside of any group hold for the whole pattern, wherever they stand
    /// (Python before 3.11; later ones allow them at the start only).
    fn global_flags(&mut self) {
        let bytes = self.src.as_bytes();
        let mut i = 0;
        while let Some(hit) = memchr::memmem::find(bytes.get(i..).unwrap_or(&[]), b"(?") {
            let at = i + hit;
            i = at + 2;
            if at > 0 && bytes.get(at - 1) == Some(&b'\\') {
                continue;
            }
            let letters: &str = self.src.get(at + 2..).unwrap_or("");
            let n = letters
                .bytes()
                .take_while(|b| b"aiLmsux".contains(b))
                .count();
            if n > 0 && letters.as_bytes().get(n) == Some(&b')') {
                for c in letters.chars().take(n) {
                    self.set_flag(c, true);
                }
            }
        }
    }

    fn set_flag(&mut self, c: char, on: bool) -> bool {
        match c {
            'i' => self.flags.fold = on,
            'm' => self.flags.multiline = on,
            's' => self.flags.dotall = on,
            'x' => self.flags.verbose = on,
            'a' | 'L' | 'u' => {}
            _ => return false,
        }
        true
    }

    fn alternation(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(PatternError::TooLarge);
        }
        let mut branches = vec![self.concat()?];
        while self.eat("|") {
            branches.push(self.concat()?);
        }
        self.depth -= 1;
        Ok(match branches.pop() {
            Some(one) if branches.is_empty() => one,
            Some(last) => {
                branches.push(last);
                Node::Alt(branches)
            }
            None => Node::Empty,
        })
    }

    fn skip_verbose(&mut self) {
        while self.flags.verbose {
            match self.peek() {
                Some(c) if c.is_ascii_whitespace() => {
                    self.pos += 1;
                }
                Some('#') => while !matches!(self.next(), None | Some('\n')) {},
                _ => return,
            }
        }
    }

    fn concat(&mut self) -> Result<Node, PatternError> {
        let mut items = Vec::new();
        loop {
            self.skip_verbose();
            match self.peek() {
                None | Some('|' | ')') => break,
                Some(_) => {}
            }
            let atom = self.atom()?;
            let atom = self.quantified(atom)?;
            if !matches!(atom, Node::Empty) {
                items.push(atom);
            }
        }
        Ok(match items.pop() {
            None => Node::Empty,
            Some(one) if items.is_empty() => one,
            Some(last) => {
                items.push(last);
                Node::Concat(items)
            }
        })
    }

    fn quantified(&mut self, mut atom: Node) -> Result<Node, PatternError> {
        let mut times = 0;
        loop {
            self.skip_verbose();
            let (min, max) = match self.peek() {
                Some('*') => {
                    self.pos += 1;
                    (0, None)
                }
                Some('+') => {
                    self.pos += 1;
                    (1, None)
                }
                Some('?') => {
                    self.pos += 1;
                    (0, Some(1))
                }
                Some('{') => match self.braces()? {
                    Some(x) => x,
                    None => return Ok(atom),
                },
                _ => return Ok(atom),
            };
            times += 1;
            if times > 1 {
                return self.fail("multiple repeat");
            }
            if min > REPEAT_MAX || max.is_some_and(|m| m > REPEAT_MAX) {
                return Err(PatternError::TooLarge);
            }
            let kind = if self.eat("?") {
                Kind::Lazy
            } else if self.eat("+") {
                Kind::Possessive
            } else {
                Kind::Greedy
            };
            if matches!(atom, Node::Empty) {
                continue;
            }
            atom = Node::Repeat {
                node: Box::new(atom),
                min,
                max,
                kind,
            };
        }
    }

    /// `{m}`, `{m,}`, `{,n}`, `{m,n}`; anything else is a literal brace.
    fn braces(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let body = match self.rest().split_once('}') {
            Some((b, _)) => b.get(1..).unwrap_or(""),
            None => return Ok(None),
        };
        let number = |s: &str| -> Option<u32> {
            if s.is_empty() || s.len() > 9 || !s.bytes().all(|b| b.is_ascii_digit()) {
                None
            } else {
                s.parse().ok()
            }
        };
        let (min, max) = match body.split_once(',') {
            None => match number(body) {
                Some(n) => (n, Some(n)),
                None => return Ok(None),
            },
            Some(("", "")) => return Ok(None),
            Some(("", b)) => match number(b) {
                Some(n) => (0, Some(n)),
                None => return Ok(None),
            },
            Some((a, "")) => match number(a) {
                Some(n) => (n, None),
                None => return Ok(None),
            },
            Some((a, b)) => match (number(a), number(b)) {
                (Some(a), Some(b)) => (a, Some(b)),
                _ => return Ok(None),
            },
        };
        if max.is_some_and(|m| m < min) {
            return self.fail("min repeat greater than max repeat");
        }
        self.pos += body.len() + 2;
        Ok(Some((min, max)))
    }

    fn literal(&self, c: char) -> Node {
        if self.flags.fold && c.is_alphabetic() {
            Node::Set(CharSet::folded(c))
        } else {
            Node::Char(c)
        }
    }

    fn atom(&mut self) -> Result<Node, PatternError> {
        let Some(c) = self.next() else {
            return Ok(Node::Empty);
        };
        match c {
            '.' => Ok(Node::Set(if self.flags.dotall {
                CharSet::every()
            } else {
                CharSet::dot()
            })),
            '^' => Ok(Node::Assert(if self.flags.multiline {
                Assert::LineStart
            } else {
                Assert::Start
            })),
            '$' => Ok(Node::Assert(if self.flags.multiline {
                Assert::LineEnd
            } else {
                Assert::End
            })),
            '(' => self.group(),
            '[' => self.class(),
            '\\' => self.escape(),
            '*' | '+' | '?' => self.fail("nothing to repeat"),
            c => Ok(self.literal(c)),
        }
    }

    fn escape(&mut self) -> Result<Node, PatternError> {
        let Some(c) = self.peek() else {
            return self.fail("bad escape (end of pattern)");
        };
        match c {
            'A' => self.assert(Assert::Start),
            'Z' => self.assert(Assert::VeryEnd),
            'b' => self.assert(Assert::WordEdge),
            'B' => self.assert(Assert::NotWordEdge),
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                self.pos += 1;
                let mut b = SetBuilder::default();
                b.perl(c);
                Ok(Node::Set(b.build(false)))
            }
            '1'..='9' => {
                let digits: String = self
                    .rest()
                    .chars()
                    .take(2)
                    .take_while(char::is_ascii_digit)
                    .collect();
                self.pos += digits.len();
                let group = digits.parse::<usize>().unwrap_or(0);
                self.reference(group)
            }
            _ => {
                let c = self.escaped_char()?;
                Ok(self.literal(c))
            }
        }
    }

    fn assert(&mut self, a: Assert) -> Result<Node, PatternError> {
        self.pos += 1;
        Ok(Node::Assert(a))
    }

    fn reference(&self, group: usize) -> Result<Node, PatternError> {
        match self.closed.get(group) {
            Some(true) => Ok(Node::BackRef {
                group,
                fold: self.flags.fold,
            }),
            Some(false) => self.fail("reference to an open group"),
            None => self.fail("invalid group reference"),
        }
    }

    /// After a backslash: the character that the escape stands for.
    fn escaped_char(&mut self) -> Result<char, PatternError> {
        let Some(c) = self.next() else {
            return self.fail("bad escape (end of pattern)");
        };
        Ok(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'x' => self.hex(2)?,
            'u' => self.hex(4)?,
            'U' => self.hex(8)?,
            '0' => {
                let digits: String = self
                    .rest()
                    .chars()
                    .take(2)
                    .take_while(|c| ('0'..='7').contains(c))
                    .collect();
                self.pos += digits.len();
                let n = if digits.is_empty() {
                    0
                } else {
                    u32::from_str_radix(&digits, 8).unwrap_or(0)
                };
                char::from_u32(n).unwrap_or('\0')
            }
            c if c.is_ascii_alphanumeric() => return self.fail("bad escape"),
            c => c,
        })
    }

    fn hex(&mut self, n: usize) -> Result<char, PatternError> {
        let digits = self.rest().get(..n).unwrap_or("");
        let value = if digits.len() == n && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            u32::from_str_radix(digits, 16)
                .ok()
                .and_then(char::from_u32)
        } else {
            None
        };
        match value {
            Some(c) => {
                self.pos += n;
                Ok(c)
            }
            None => self.fail("incomplete escape"),
        }
    }

    fn class(&mut self) -> Result<Node, PatternError> {
        let negate = self.eat("^");
        let mut set = SetBuilder::default();
        let mut first = true;
        loop {
            let Some(c) = self.next() else {
                return self.fail("unterminated character set");
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            let Some(low) = self.class_item(c, &mut set)? else {
                continue;
            };
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.pos += 1;
                let Some(c) = self.next() else {
                    return self.fail("unterminated character set");
                };
                let Some(high) = self.class_item(c, &mut set)? else {
                    return self.fail("bad character range");
                };
                if high < low {
                    return self.fail("bad character range");
                }
                set.range(low, high);
            } else {
                set.char(low);
            }
        }
        if self.flags.fold {
            set.fold();
        }
        Ok(Node::Set(set.build(negate)))
    }

    /// A character of a class, or none when it was a class of its own like `\d`.
    fn class_item(&mut self, c: char, set: &mut SetBuilder) -> Result<Option<char>, PatternError> {
        if c != '\\' {
            return Ok(Some(c));
        }
        match self.peek() {
            Some(p @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => {
                self.pos += 1;
                set.perl(p);
                Ok(None)
            }
            Some('b') => {
                self.pos += 1;
                Ok(Some('\x08'))
            }
            Some('1'..='7') => {
                let digits: String = self
                    .rest()
                    .chars()
                    .take(3)
                    .take_while(|c| ('0'..='7').contains(c))
                    .collect();
                self.pos += digits.len();
                Ok(u32::from_str_radix(&digits, 8)
                    .ok()
                    .and_then(char::from_u32))
            }
            _ => self.escaped_char().map(Some),
        }
    }

    fn close(&mut self) -> Result<(), PatternError> {
        if self.eat(")") {
            Ok(())
        } else {
            self.fail("missing ), unterminated subpattern")
        }
    }

    fn group(&mut self) -> Result<Node, PatternError> {
        if !self.eat("?") {
            return self.capture(None);
        }
        let saved = self.flags;
        let Some(c) = self.next() else {
            return self.fail("unexpected end of pattern");
        };
        let node = match c {
            ':' => {
                let n = self.alternation()?;
                self.close()?;
                n
            }
            '>' => {
                let n = self.alternation()?;
                self.close()?;
                Node::Atomic(Box::new(n))
            }
            '#' => {
                while !matches!(self.peek(), None | Some(')')) {
                    self.next();
                }
                self.close()?;
                Node::Empty
            }
            '=' => self.look(false, false)?,
            '!' => self.look(false, true)?,
            '<' if self.eat("=") => self.look(true, false)?,
            '<' if self.eat("!") => self.look(true, true)?,
            'P' if self.eat("<") => {
                let name = self.name('>')?;
                return self.capture(Some(name));
            }
            'P' if self.eat("=") => {
                let name = self.name(')')?;
                let Some(group) = self.find(&name) else {
                    return self.fail("unknown group name");
                };
                return self.reference(group);
            }
            '(' => {
                let name = self.name(')')?;
                let group = match name.parse::<usize>() {
                    Ok(n) if n > 0 => n,
                    _ => match self.find(&name) {
                        Some(g) => g,
                        None => return self.fail("unknown group name"),
                    },
                };
                if group >= self.names.len() {
                    return self.fail("invalid group reference");
                }
                self.conditional(group)?
            }
            c => return self.inline_flags(c, saved),
        };
        self.flags = saved;
        Ok(node)
    }

    fn inline_flags(&mut self, first: char, saved: Flags) -> Result<Node, PatternError> {
        let mut on = true;
        let mut c = first;
        loop {
            match c {
                '-' => on = false,
                ')' => {
                    // a global flag, already in force
                    self.flags = saved;
                    return Ok(Node::Empty);
                }
                ':' => {
                    let n = self.alternation()?;
                    self.close()?;
                    self.flags = saved;
                    return Ok(n);
                }
                c => {
                    if !self.set_flag(c, on) {
                        return self.fail("unknown extension");
                    }
                }
            }
            match self.next() {
                Some(n) => c = n,
                None => return self.fail("missing :"),
            }
        }
    }

    fn look(&mut self, behind: bool, negate: bool) -> Result<Node, PatternError> {
        let node = self.alternation()?;
        self.close()?;
        if behind && node.width().is_none() {
            return self.fail("look-behind requires fixed-width pattern");
        }
        Ok(Node::Look {
            behind,
            negate,
            node: Box::new(node),
        })
    }

    fn conditional(&mut self, group: usize) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(PatternError::TooLarge);
        }
        let yes = self.concat()?;
        let no = if self.eat("|") {
            self.concat()?
        } else {
            Node::Empty
        };
        self.depth -= 1;
        if self.peek() == Some('|') {
            return self.fail("conditional backref with more than two branches");
        }
        self.close()?;
        Ok(Node::Cond {
            group,
            yes: Box::new(yes),
            no: Box::new(no),
        })
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.as_deref() == Some(name))
    }

    fn name(&mut self, end: char) -> Result<String, PatternError> {
        let Some((name, _)) = self.rest().split_once(end) else {
            return self.fail("unterminated name");
        };
        let good = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let name = name.to_owned();
        if !good {
            return self.fail("bad character in group name");
        }
        self.pos += name.len() + end.len_utf8();
        Ok(name)
    }

    fn capture(&mut self, name: Option<String>) -> Result<Node, PatternError> {
        if let Some(n) = &name {
            if n.starts_with(|c: char| c.is_ascii_digit()) {
                return self.fail("bad character in group name");
            }
            if self.find(n).is_some() {
                return self.fail("redefinition of group name");
            }
        }
        let saved = self.flags;
        let index = self.names.len();
        self.names.push(name);
        self.closed.push(false);
        let node = self.alternation()?;
        self.close()?;
        if let Some(c) = self.closed.get_mut(index) {
            *c = true;
        }
        self.flags = saved;
        Ok(Node::Group {
            index,
            node: Box::new(node),
        })
    }
}
