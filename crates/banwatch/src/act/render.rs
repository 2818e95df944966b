//! A command of an action, made ready once: every `<tag>` becomes the expansion of a variable,
//! quoted as the place in the shell's text wants it.
//!
//! The text that the shell reads is finished before the first ban: values come in its
//! environment. What a stranger wrote into a log is never a part of the text, so it can't be a
//! command whatever the quoting around it. Reading the quoting right decides only whether the
//! value arrives whole: `"${f2bV_matches}"` between words, `${f2bV_matches}` inside double quotes
//! and here-documents, `'"${f2bV_matches}"'` inside single quotes.
//!
//! Two places are left in which the shell expands nothing, or too much: here-documents with a
//! quoted end word, and arithmetic. And there are commands that read an argument as a program
//! once more (`eval`, `sh -c`, `ssh`, `sed`, `awk`, `perl` …). There only values are let in that
//! are made of plain characters ([`is_plain`]); a tag whose value a stranger can choose is refused
//! when the action is read.

use super::tag::Tag;

/// Longest command, in octets: below the kernel's limit for one argument (execve(2)).
pub const COMMAND_MAX: usize = 100 * 1024;
/// Deepest nesting of quotes, substitutions and parentheses.
pub const DEPTH_MAX: usize = 100;

/// Part of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A plain value that has to stand in the text itself.
    Value(Tag),
}

/// A command that needs only its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pieces: Vec<Piece>,
    tags: Vec<Tag>,
    plain: Vec<Tag>,
}

/// Why a command can't be run safely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// A stranger's text where the shell would read it as arithmetic.
    Arithmetic(Tag),
    /// A stranger's text in a here-document in which nothing is expanded.
    Quoted(Tag),
    /// A stranger's text in what this program reads as a program.
    Program(Tag, String),
    /// Longer than [`COMMAND_MAX`].
    TooLong,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RenderError::Arithmetic(t) => write!(f, "<{}> can't stand in arithmetic", t.name()),
            RenderError::Quoted(t) => write!(
                f,
                "<{}> can't stand in a here-document with a quoted end word",
                t.name()
            ),
            RenderError::Program(t, by) => write!(
                f,
                "<{}> would be read as a part of a program by {by}; let that program take it from \
                 its environment as {}",
                t.name(),
                t.variable()
            ),
            RenderError::TooLong => write!(f, "longer than {COMMAND_MAX} octets"),
            RenderError::TooDeep => write!(f, "nested deeper than {DEPTH_MAX}"),
        }
    }
}

impl std::error::Error for RenderError {}

/// Whether a value means the same wherever it stands in a shell's text: letters, digits and
/// `. : / _ -`, not empty, no `-` in front unless it is a number.
#[must_use]
pub fn is_plain(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".:/_-".contains(&b);
    let option = value
        .strip_prefix('-')
        .is_some_and(|r| !r.bytes().all(|b| b.is_ascii_digit()));
    !value.is_empty() && value.bytes().all(fits) && !option
}

impl Command {
    /// Reads a command in which only tags of one ban are left.
    ///
    /// # Errors
    /// [`RenderError`], naming the tag that can't be taken over.
    pub fn new(text: &str) -> Result<Command, RenderError> {
        if text.len() > COMMAND_MAX {
            return Err(RenderError::TooLong);
        }
        let mut reader = Reader {
            text,
            at: 0,
            out: String::with_capacity(text.len() + 64),
            command: Command::default(),
            stack: vec![Frame::new(Kind::Words(End::Text))],
            documents: Vec::new(),
        };
        reader.read()?;
        let mut command = reader.command;
        command.pieces.push(Piece::Text(reader.out));
        let length: usize = command.text(&mut |_| String::new()).len();
        match length > COMMAND_MAX {
            true => Err(RenderError::TooLong),
            false => Ok(command),
        }
    }

    /// Whether there is nothing to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let blank = |p: &Piece| matches!(p, Piece::Text(t) if t.trim().is_empty());
        self.pieces.iter().all(blank)
    }

    /// The tags whose values have to be in the environment, each once.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The tags whose values must be plain ([`is_plain`]).
    #[must_use]
    pub fn plain(&self) -> &[Tag] {
        &self.plain
    }

    /// The text for the shell. `value` is asked for tags of [`Command::plain`] only; what it gives
    /// is left out when it is not plain.
    #[must_use]
    pub fn text(&self, value: &mut dyn FnMut(&Tag) -> String) -> String {
        let mut out = String::new();
        for p in &self.pieces {
            match p {
                Piece::Text(t) => out.push_str(t),
                Piece::Value(tag) => {
                    let v = value(tag);
                    if is_plain(&v) {
                        out.push_str(&v);
                    }
                }
            }
        }
        out
    }
}

/// How far words go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Text,
    Parenthesis,
    Backquote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Words(End),
    Single,
    Double,
    /// `${…}`; inside double quotes or not.
    Brace(bool),
    /// `$((…))`
    Arithmetic,
}

#[derive(Clone, Debug)]
struct Frame {
    kind: Kind,
    /// Parentheses that are open inside.
    open: usize,
    /// The present word as far as it is unquoted.
    word: String,
    begun: bool,
    /// The program among the words of this simple command that reads its arguments as a program.
    reads: Option<String>,
}

impl Frame {
    fn new(kind: Kind) -> Frame {
        Frame {
            kind,
            open: 0,
            word: String::new(),
            begun: false,
            reads: None,
        }
    }

    fn word_ends(&mut self) {
        if self.begun && self.reads.is_none() {
            self.reads = reads_programs(&self.word).then(|| std::mem::take(&mut self.word));
        }
        self.word.clear();
        self.begun = false;
    }

    fn command_ends(&mut self) {
        self.word_ends();
        self.reads = None;
    }
}

/// Programs that read an argument as a program.
fn reads_programs(word: &str) -> bool {
    const NAMES: [&str; 24] = [
        "eval", "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "su", "runuser", "ssh",
        "rsh", "perl", "ruby", "php", "lua", "sed", "awk", "gawk", "mawk", "nawk", "expect",
        "tclsh", "trap",
    ];
    let name = word.rsplit('/').next().unwrap_or(word);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    NAMES.contains(&name) || NAMES.contains(&bare) || bare == "python" || bare == "pypy"
}

struct Document {
    end: String,
    quoted: bool,
    tabs: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    out: String,
    command: Command,
    stack: Vec<Frame>,
    documents: Vec<Document>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn kind(&self) -> Kind {
        self.stack.last().map_or(Kind::Words(End::Text), |f| f.kind)
    }

    fn top(&mut self) -> Option<&mut Frame> {
        self.stack.last_mut()
    }

    /// Takes so many octets over as they are.
    fn take(&mut self, octets: usize) {
        let end = (self.at + octets).min(self.text.len());
        self.out.push_str(self.text.get(self.at..end).unwrap_or(""));
        self.at = end;
    }

    fn push(&mut self, kind: Kind) -> Result<(), RenderError> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(RenderError::TooDeep);
        }
        self.stack.push(Frame::new(kind));
        Ok(())
    }

    fn pop(&mut self) {
        // The outermost frame is the text itself.
        if self.stack.len() > 1 {
            self.stack.pop();
        }
        if let Some(f) = self.top() {
            f.begun = true;
        }
    }

    fn read(&mut self) -> Result<(), RenderError> {
        while let Some(c) = self.rest().chars().next() {
            if let Some((tag, length)) = self.tag() {
                self.put(&tag)?;
                self.at += length;
                continue;
            }
            match self.kind() {
                Kind::Words(end) => self.words(c, end)?,
                Kind::Single => {
                    if c == '`' && self.in_backquotes() {
                        self.backquote()?;
                    } else {
                        self.take(c.len_utf8());
                        if c == '\'' {
                            self.pop();
                        }
                    }
                }
                Kind::Double => match c {
                    '"' => {
                        self.take(1);
                        self.pop();
                    }
                    _ => self.quoted(c)?,
                },
                Kind::Brace(quoted) => match c {
                    '}' => {
                        self.take(1);
                        self.pop();
                    }
                    '"' => {
                        self.take(1);
                        self.push(Kind::Double)?;
                    }
                    '\'' if !quoted => {
                        self.take(1);
                        self.push(Kind::Single)?;
                    }
                    _ => self.quoted(c)?,
                },
                Kind::Arithmetic => match c {
                    '(' | ')' => {
                        self.take(1);
                        let Some(f) = self.top() else { continue };
                        if c == '(' {
                            f.open += 1;
                        } else if f.open > 1 {
                            f.open -= 1;
                        } else {
                            self.pop();
                        }
                    }
                    _ => self.quoted(c)?,
                },
            }
        }
        Ok(())
    }

    /// What double quotes, braces and arithmetic have in common.
    fn quoted(&mut self, c: char) -> Result<(), RenderError> {
        match c {
            '\\' => self.escape(),
            '$' => self.dollar()?,
            '`' => self.backquote()?,
            _ => self.take(c.len_utf8()),
        }
        Ok(())
    }

    fn words(&mut self, c: char, end: End) -> Result<(), RenderError> {
        match c {
            '\\' => {
                let next = self.rest().get(1..).and_then(|r| r.chars().next());
                if let (Some(f), Some(n)) = (self.top(), next) {
                    if n != '\n' {
                        f.begun = true;
                        f.word.push(n);
                    }
                }
                self.escape();
            }
            '\'' | '"' => {
                self.take(1);
                if let Some(f) = self.top() {
                    f.begun = true;
                }
                self.push(if c == '"' { Kind::Double } else { Kind::Single })?;
            }
            '$' => {
                if let Some(f) = self.top() {
                    f.begun = true;
                    f.word.push('$');
                }
                self.dollar()?;
            }
            '`' => self.backquote()?,
            '(' | ')' => {
                self.take(1);
                let Some(f) = self.top() else { return Ok(()) };
                f.command_ends();
                if end == End::Parenthesis {
                    match (c, f.open) {
                        ('(', n) => f.open = n + 1,
                        (_, 0) => self.pop(),
                        (_, n) => f.open = n - 1,
                    }
                }
            }
            '#' if !self.top().is_some_and(|f| f.begun) => self.comment()?,
            '\n' => {
                self.take(1);
                if let Some(f) = self.top() {
                    f.command_ends();
                }
                for d in std::mem::take(&mut self.documents) {
                    self.document(&d)?;
                }
            }
            ';' | '&' | '|' => {
                self.take(1);
                if let Some(f) = self.top() {
                    f.command_ends();
                }
            }
            '<' => self.redirection(),
            c if c.is_whitespace() => {
                self.take(c.len_utf8());
                if let Some(f) = self.top() {
                    f.word_ends();
                }
            }
            c => {
                self.take(c.len_utf8());
                if let Some(f) = self.top() {
                    f.begun = true;
                    f.word.push(c);
                }
            }
        }
        Ok(())
    }

    fn escape(&mut self) {
        let next = self.rest().get(1..).and_then(|r| r.chars().next());
        self.take(1 + next.map_or(0, char::len_utf8));
    }

    fn dollar(&mut self) -> Result<(), RenderError> {
        let rest = self.rest();
        let quoted = matches!(self.kind(), Kind::Double | Kind::Brace(true));
        if rest.starts_with("$((") {
            self.take(3);
            self.push(Kind::Arithmetic)?;
            if let Some(f) = self.top() {
                f.open = 2;
            }
        } else if rest.starts_with("$(") {
            self.take(2);
            self.push(Kind::Words(End::Parenthesis))?;
        } else if rest.starts_with("${") {
            self.take(2);
            self.push(Kind::Brace(quoted))?;
        } else {
            self.take(1);
        }
        Ok(())
    }

    fn in_backquotes(&self) -> bool {
        self.stack
            .iter()
            .any(|f| f.kind == Kind::Words(End::Backquote))
    }

    /// A backquote ends what an earlier one began, whatever is open inside.
    fn backquote(&mut self) -> Result<(), RenderError> {
        self.take(1);
        let last = self
            .stack
            .iter()
            .rposition(|f| f.kind == Kind::Words(End::Backquote));
        match last {
            Some(n) => {
                self.stack.truncate(n + 1);
                self.pop();
                Ok(())
            }
            None => self.push(Kind::Words(End::Backquote)),
        }
    }

    /// Up to the end of the line. Nothing in there is run; a tag has no meaning.
    fn comment(&mut self) -> Result<(), RenderError> {
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        let end = match rest.get(..end).and_then(|r| r.find('`')) {
            Some(quote) if self.in_backquotes() => quote,
            _ => end,
        };
        self.take(end);
        Ok(())
    }

    /// `<`, and perhaps the beginning of a here-document.
    fn redirection(&mut self) {
        if let Some(f) = self.top() {
            f.word_ends();
        }
        let rest = self.rest();
        let Some(after) = rest.strip_prefix("<<").filter(|a| !a.starts_with('<')) else {
            let length = if rest.starts_with("<<<") { 3 } else { 1 };
            return self.take(length);
        };
        let (tabs, word) = match after.strip_prefix('-') {
            Some(w) => (true, w),
            None => (false, after),
        };
        let word = word.trim_start_matches([' ', '\t']);
        let (mut end, mut quoted, mut quote) = (String::new(), false, None);
        let mut length = 0;
        let mut chars = word.chars();
        while let Some(c) = chars.next() {
            match (quote, c) {
                (Some(q), c) if c == q => quote = None,
                (Some(_), c) => end.push(c),
                (None, '\'' | '"') => {
                    quote = Some(c);
                    quoted = true;
                }
                (None, '\\') => {
                    quoted = true;
                    length += 1;
                    match chars.next() {
                        Some(c) => {
                            end.push(c);
                            length += c.len_utf8();
                        }
                        None => break,
                    }
                    continue;
                }
                (None, c) if c.is_whitespace() || ";&|()<>".contains(c) => break,
                (None, c) => end.push(c),
            }
            length += c.len_utf8();
        }
        let begin = rest.len() - word.len();
        self.take(begin + length);
        if !end.is_empty() {
            self.documents.push(Document { end, quoted, tabs });
        }
    }

    fn document(&mut self, d: &Document) -> Result<(), RenderError> {
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Ok(());
            }
            let length = rest.find('\n').map_or(rest.len(), |n| n + 1);
            let line = rest.get(..length).unwrap_or("");
            let bare = if d.tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            let last = bare.trim_end_matches('\n') == d.end;
            let end = self.at + length;
            while self.at < end {
                match self.tag() {
                    Some((tag, n)) => {
                        self.note(&tag, d.quoted, &|t| RenderError::Quoted(t))?;
                        if d.quoted {
                            let text = std::mem::take(&mut self.out);
                            self.command.pieces.push(Piece::Text(text));
                            self.command.pieces.push(Piece::Value(tag));
                        } else {
                            self.expand(&tag, "", "");
                        }
                        self.at += n;
                    }
                    None => {
                        let next = self.rest().chars().next().map_or(1, char::len_utf8);
                        self.take(next);
                    }
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// The tag that stands here, and its length.
    fn tag(&self) -> Option<(Tag, usize)> {
        let inner = self.rest().strip_prefix('<')?;
        let end = inner.find(['<', '>', ' ', '\n'])?;
        let (name, rest) = inner.split_at_checked(end)?;
        rest.strip_prefix('>')?;
        Tag::parse(name).map(|t| (t, end + 2))
    }

    fn expand(&mut self, tag: &Tag, before: &str, after: &str) {
        self.out.push_str(before);
        self.out.push_str("${");
        self.out.push_str(&tag.variable());
        self.out.push('}');
        self.out.push_str(after);
    }

    fn note(
        &mut self,
        tag: &Tag,
        plain: bool,
        refuse: &dyn Fn(Tag) -> RenderError,
    ) -> Result<(), RenderError> {
        if plain {
            if tag.is_text() {
                return Err(refuse(tag.clone()));
            }
            if !self.command.plain.contains(tag) {
                self.command.plain.push(tag.clone());
            }
        }
        if !self.command.tags.contains(tag) {
            self.command.tags.push(tag.clone());
        }
        Ok(())
    }

    fn put(&mut self, tag: &Tag) -> Result<(), RenderError> {
        if let Some(f) = self.top() {
            if matches!(f.kind, Kind::Words(_)) {
                f.begun = true;
                // Not a name that is known now.
                f.word.push('$');
            }
        }
        let by = self.stack.iter().find_map(|f| f.reads.clone());
        let arithmetic = self.kind() == Kind::Arithmetic;
        self.note(tag, arithmetic || by.is_some(), &|t| match &by {
            _ if arithmetic => RenderError::Arithmetic(t),
            by => RenderError::Program(t, by.clone().unwrap_or_default()),
        })?;
        match self.kind() {
            Kind::Words(_) | Kind::Brace(false) => self.expand(tag, "\"", "\""),
            Kind::Single => self.expand(tag, "'\"", "\"'"),
            Kind::Double | Kind::Brace(true) | Kind::Arithmetic => self.expand(tag, "", ""),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
