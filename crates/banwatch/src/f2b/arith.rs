//! The arithmetic of `bantime.formula` and of times like `1d 12h`.
//!
//! fail2ban hands both to Python's `eval`. Here they are a small language of their own: numbers,
//! `+ - * / // % **`, shifts, comparisons, `a if c else b`, a few functions, and in formulas
//! `ban.Time`, `ban.Count` and `banFactor`. Anything else is refused by name.

/// Longest expression, in octets.
pub const TEXT_MAX: usize = 1000;
/// Deepest nesting.
const DEPTH_MAX: u32 = 40;

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression(pub String);

impl std::fmt::Display for BadExpression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadExpression {}

fn bad<T>(what: impl Into<String>) -> Result<T, BadExpression> {
    Err(BadExpression(what.into()))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 20] = [
    "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")",
    ",", "|", "&",
];

fn tokens(text: &str) -> Result<Vec<Token>, BadExpression> {
    if text.len() > TEXT_MAX {
        return bad("expression too long");
    }
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let n = if c.is_ascii_digit() || c == '.' {
            let n = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let digits = rest.get(..n).unwrap_or("");
            match digits.parse() {
                Ok(v) => out.push(Token::Number(v)),
                Err(_) => return bad(format!("{digits} is no number")),
            }
            n
        } else if c.is_alphabetic() || c == '_' {
            let n = rest
                .find(|c: char| !c.is_alphabetic() && c != '_' && c != '.')
                .unwrap_or(rest.len());
            out.push(Token::Name(rest.get(..n).unwrap_or("").to_owned()));
            n
        } else if let Some(s) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            out.push(Token::Sign(s));
            s.len()
        } else {
            return bad(format!("{c} is not understood"));
        };
        rest = rest.get(n..).unwrap_or("").trim_start();
    }
    Ok(out)
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Time,
    Count,
    Factor,
    Negative(Box<Node>),
    Not(Box<Node>),
    Two(&'static str, Box<Node>, Box<Node>),
    If {
        test: Box<Node>,
        yes: Box<Node>,
        no: Box<Node>,
    },
    Call(Function, Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Int,
    Float,
    Round,
    Abs,
    Exp,
    Log,
    Pow,
    Sqrt,
    Floor,
    Ceil,
}

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "min" => Function::Min,
        "max" => Function::Max,
        "int" => Function::Int,
        "float" => Function::Float,
        "round" => Function::Round,
        "abs" => Function::Abs,
        "math.exp" => Function::Exp,
        "math.log" => Function::Log,
        "pow" | "math.pow" => Function::Pow,
        "math.sqrt" => Function::Sqrt,
        "math.floor" => Function::Floor,
        "math.ceil" => Function::Ceil,
        _ => return None,
    })
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    /// Times: numbers may have units, and numbers side by side are added.
    units: bool,
}

/// Seconds of a unit of time; a month is a twelfth of a year of 365.25 days.
fn unit(name: &str) -> Option<f64> {
    const DAY: f64 = 86_400.0;
    Some(match name.to_ascii_lowercase().as_str() {
        "s" | "ss" | "se" | "sec" | "second" | "seconds" => 1.0,
        "m" | "mm" | "mi" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hh" | "ho" | "hou" | "hour" | "hours" => 3600.0,
        "d" | "dd" | "da" | "day" | "days" => DAY,
        "w" | "ww" | "we" | "wee" | "week" | "weeks" => 7.0 * DAY,
        "mo" | "mon" | "month" | "months" => 365.25 / 12.0 * DAY,
        "y" | "yy" | "ye" | "yea" | "year" | "years" => 365.25 * DAY,
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn sign(&mut self, list: &[&'static str]) -> Option<&'static str> {
        match self.peek() {
            Some(Token::Sign(s)) if list.contains(s) => {
                let s = *s;
                self.at += 1;
                Some(s)
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Some(Token::Name(n)) if n == word);
        self.at += usize::from(hit);
        hit
    }

    fn expression(&mut self) -> Result<Node, BadExpression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return bad("nested too deeply");
        }
        let yes = self.level(0)?;
        let node = if self.word("if") {
            let test = self.level(0)?;
            if !self.word("else") {
                return bad("if without else");
            }
            let no = self.expression()?;
            Node::If {
                test: Box::new(test),
                yes: Box::new(yes),
                no: Box::new(no),
            }
        } else {
            yes
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Operators from the loosest to the tightest.
    fn level(&mut self, n: usize) -> Result<Node, BadExpression> {
        const LEVELS: [&[&str]; 6] = [
            &["<", "<=", ">", ">=", "==", "!="],
            &["|"],
            &["&"],
            &["<<", ">>"],
            &["+", "-"],
            &["*", "/", "//", "%"],
        ];
        let Some(signs) = LEVELS.get(n) else {
            return self.unary();
        };
        if n == 0 && self.word("not") {
            return Ok(Node::Not(Box::new(self.level(0)?)));
        }
        let mut left = self.level(n + 1)?;
        loop {
            if let Some(s) = self.sign(signs) {
                left = Node::Two(s, Box::new(left), Box::new(self.level(n + 1)?));
            } else if n == 4 && self.units && matches!(self.peek(), Some(Token::Number(_))) {
                left = Node::Two("+", Box::new(left), Box::new(self.level(n + 1)?));
            } else {
                return Ok(left);
            }
        }
    }

    fn unary(&mut self) -> Result<Node, BadExpression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return bad("nested too deeply");
        }
        let node = match self.sign(&["-", "+"]) {
            Some("-") => Node::Negative(Box::new(self.unary()?)),
            Some(_) => self.unary()?,
            None => {
                let base = self.primary()?;
                match self.sign(&["**"]) {
                    Some(s) => Node::Two(s, Box::new(base), Box::new(self.unary()?)),
                    None => base,
                }
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, BadExpression> {
        let token = self.peek().cloned();
        self.at += 1;
        match token {
            Some(Token::Number(n)) => {
                if let (true, Some(Token::Name(name))) = (self.units, self.peek()) {
                    let Some(seconds) = unit(name) else {
                        return bad(format!("{name} is no unit of time"));
                    };
                    self.at += 1;
                    return Ok(Node::Number(n * seconds));
                }
                Ok(Node::Number(n))
            }
            Some(Token::Sign("(")) => {
                let inner = self.expression()?;
                match self.sign(&[")"]) {
                    Some(_) => Ok(inner),
                    None => bad("missing )"),
                }
            }
            Some(Token::Name(name)) if !self.units => match name.as_str() {
                "ban.Time" => Ok(Node::Time),
                "ban.Count" => Ok(Node::Count),
                "banFactor" => Ok(Node::Factor),
                name => {
                    let Some(f) = function(name) else {
                        return bad(format!("{name} is not known"));
                    };
                    if self.sign(&["("]).is_none() {
                        return bad(format!("{name} without arguments"));
                    }
                    let mut arguments = vec![self.expression()?];
                    while self.sign(&[","]).is_some() {
                        arguments.push(self.expression()?);
                    }
                    if self.sign(&[")"]).is_none() {
                        return bad("missing )");
                    }
                    let n = arguments.len();
                    let right = match f {
                        Function::Min | Function::Max => n >= 1,
                        Function::Pow => n == 2,
                        Function::Log | Function::Round => n == 1 || n == 2,
                        _ => n == 1,
                    };
                    if right {
                        Ok(Node::Call(f, arguments))
                    } else {
                        bad(format!("{name}: arguments"))
                    }
                }
            },
            Some(Token::Name(name)) => bad(format!("{name} is not known")),
            Some(Token::Sign(s)) => bad(format!("{s} out of place")),
            None => bad("ends too early"),
        }
    }
}

fn parse(text: &str, units: bool) -> Result<Node, BadExpression> {
    let mut p = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
        units,
    };
    let node = p.expression()?;
    match p.peek() {
        None => Ok(node),
        Some(t) => bad(format!("{t:?} out of place")),
    }
}

#[derive(Clone, Copy)]
struct Given {
    time: f64,
    count: f64,
    factor: f64,
}

fn truth(x: bool) -> f64 {
    f64::from(u8::from(x))
}

fn eval(node: &Node, g: &Given) -> f64 {
    match node {
        Node::Number(n) => *n,
        Node::Time => g.time,
        Node::Count => g.count,
        Node::Factor => g.factor,
        Node::Negative(a) => -eval(a, g),
        Node::Not(a) => truth(eval(a, g) == 0.0),
        Node::If { test, yes, no } => eval(if eval(test, g) != 0.0 { yes } else { no }, g),
        Node::Two(sign, a, b) => {
            let (a, b) = (eval(a, g), eval(b, g));
            match *sign {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" => a / b,
                "//" => (a / b).floor(),
                "%" => a - b * (a / b).floor(),
                "**" => a.powf(b),
                "<<" => a.trunc() * b.trunc().clamp(0.0, 62.0).exp2(),
                ">>" => (a.trunc() / b.trunc().clamp(0.0, 62.0).exp2()).floor(),
                "<" => truth(a < b),
                "<=" => truth(a <= b),
                ">" => truth(a > b),
                ">=" => truth(a >= b),
                "==" => truth(a == b),
                "!=" => truth(a != b),
                "&" => ((a as i64) & (b as i64)) as f64,
                "|" => ((a as i64) | (b as i64)) as f64,
                _ => f64::NAN,
            }
        }
        Node::Call(f, list) => {
            let v: Vec<f64> = list.iter().map(|n| eval(n, g)).collect();
            let x = v.first().copied().unwrap_or(f64::NAN);
            let y = v.get(1).copied();
            match f {
                Function::Min => v.iter().copied().fold(f64::INFINITY, f64::min),
                Function::Max => v.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Function::Int => x.trunc(),
                Function::Float => x,
                Function::Round => {
                    let scale = 10f64.powf(y.unwrap_or(0.0));
                    (x * scale).round_ties_even() / scale
                }
                Function::Abs => x.abs(),
                Function::Exp => x.exp(),
                Function::Log => y.map_or(x.ln(), |b| x.log(b)),
                Function::Pow => x.powf(y.unwrap_or(f64::NAN)),
                Function::Sqrt => x.sqrt(),
                Function::Floor => x.floor(),
                Function::Ceil => x.ceil(),
            }
        }
    }
}

/// Seconds of `600`, `10m`, `1d 12h`, `1year-6mo`, `-1`.
///
/// # Errors
/// [`BadExpression`]: not such a time, or not a finite one.
pub fn seconds(text: &str) -> Result<f64, BadExpression> {
    let node = parse(text, true)?;
    let value = eval(
        &node,
        &Given {
            time: 0.0,
            count: 0.0,
            factor: 0.0,
        },
    );
    if value.is_finite() {
        Ok(value)
    } else {
        bad("not a finite time")
    }
}

/// A `bantime.formula`.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula(Node);

/// What fail2ban takes without one: twice as long each time, twenty times at most.
pub const FORMULA_DEFAULT: &str = "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor";

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// [`BadExpression`], with the name or sign that is not known.
    pub fn parse(text: &str) -> Result<Formula, BadExpression> {
        parse(text, false).map(Formula)
    }

    /// Seconds of the next ban, for bans of `time` seconds after `count` earlier ones. May be
    /// infinite or not a number.
    #[must_use]
    pub fn value(&self, time: f64, count: u32, factor: f64) -> f64 {
        eval(
            &self.0,
            &Given {
                time,
                count: f64::from(count),
                factor,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("600", 600.0),
            ("10m", 600.0),
            ("1h 30m", 5400.0),
            ("1d12h", 129_600.0),
            ("1hour+30min", 5400.0),
            ("0d 1h 30m", 5400.0),
            ("1year-6mo", 15_778_800.0),
            ("6 months", 15_778_800.0),
            ("2*1h", 7200.0),
            ("-1", -1.0),
            ("1w", 604_800.0),
            ("1.5h", 5400.0),
        ] {
            assert_eq!(seconds(text), Ok(want), "{text}");
        }
        for text in [
            "",
            "x",
            "10q",
            "1+",
            "(1",
            "1)",
            "1/0",
            "__import__",
            "1h ban.Time",
            "1..2",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shipped_formulas() {
        let f = Formula::parse(FORMULA_DEFAULT).unwrap();
        for (count, want) in [
            (1, 1200.0),
            (2, 2400.0),
            (20, 629_145_600.0),
            (21, 629_145_600.0),
        ] {
            assert_eq!(f.value(600.0, count, 1.0), want);
        }
        let f = Formula::parse(
            "ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)",
        )
        .unwrap();
        assert!((f.value(600.0, 2, 1.0) - 600.0 * 2f64.exp()).abs() < 1e-6);
        assert_eq!(
            Formula::parse("ban.Time + random.random()").unwrap_err().0,
            "random.random is not known"
        );
        assert!(Formula::parse("__import__('os')").is_err());
        assert_eq!(
            Formula::parse("2 ** 3 ** 2 - -1")
                .unwrap()
                .value(0.0, 0, 0.0),
            513.0
        );
    }

    #[test]
    fn limits() {
        let nest = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert!(seconds(&nest(10)).is_ok());
        assert!(seconds(&nest(50)).is_err());
        assert!(seconds(&"-".repeat(60)).is_err());
        assert!(seconds(&format!("1{}", " ".repeat(TEXT_MAX - 1))).is_ok());
        assert!(seconds(&format!("1{}", " ".repeat(TEXT_MAX))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_text(text in "[0-9a-z.+*/%<>=()|& -]{0,40}") {
            let _ = seconds(&text);
            if let Ok(f) = Formula::parse(&text) {
                let _ = f.value(600.0, 3, 1.0);
            }
        }
    }
}
