//! Which text a line must contain before a pattern is worth trying.

use super::ast::Node;
use super::charset::{CharSet, High};

/// Alternatives of one clause.
const ALTERNATIVES_MAX: usize = 24;
/// Octets of one alternative.
const LENGTH_MAX: usize = 32;

/// At least one of these occurs in every text that matches. Never empty, no member empty.
pub(crate) type Clause = Vec<Vec<u8>>;

struct Info {
    /// All texts it can match, when few.
    exact: Option<Vec<Vec<u8>>>,
    best: Option<Clause>,
}

impl Info {
    fn unknown() -> Info {
        Info {
            exact: None,
            best: None,
        }
    }

    fn empty() -> Info {
        Info {
            exact: Some(vec![Vec::new()]),
            best: None,
        }
    }

    /// The best clause this part alone gives.
    fn clause(self) -> Option<Clause> {
        better(self.best, self.exact)
    }
}

fn score(c: &Clause) -> Option<i32> {
    let shortest = c.iter().map(Vec::len).min()?;
    if shortest < 2 {
        return None;
    }
    Some(shortest.min(14) as i32 * 4 - c.len() as i32)
}

fn better(a: Option<Clause>, b: Option<Clause>) -> Option<Clause> {
    let a = a.filter(|c| score(c).is_some());
    let b = b.filter(|c| score(c).is_some());
    match (a, b) {
        (Some(a), Some(b)) => Some(if score(&b) > score(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The clause that tells most about `node`, if there is one worth looking for.
pub(crate) fn required(node: &Node) -> Option<Clause> {
    let mut clause = walk(node).clause()?;
    clause.sort();
    clause.dedup();
    Some(clause)
}

fn members(set: &CharSet) -> Option<Vec<Vec<u8>>> {
    if set.high != High::None || set.ascii.count_ones() > 4 || set.ascii >> 10 & 1 == 1 {
        return None;
    }
    Some(
        (0u8..128)
            .filter(|b| set.ascii >> b & 1 == 1)
            .map(|b| vec![b])
            .collect(),
    )
}

fn walk(node: &Node) -> Info {
    match node {
        Node::Empty | Node::Assert(_) | Node::Look { .. } => Info::empty(),
        Node::Char('\n') => Info::unknown(),
        Node::Char(c) => Info {
            exact: Some(vec![c.to_string().into_bytes()]),
            best: None,
        },
        Node::Set(s) => Info {
            exact: members(s),
            best: None,
        },
        Node::Group { node, .. } | Node::Atomic(node) => walk(node),
        Node::BackRef { .. } => Info::unknown(),
        Node::Cond { yes, no, .. } => alternatives([walk(yes), walk(no)].into_iter()),
        Node::Alt(v) => alternatives(v.iter().map(walk)),
        Node::Repeat { node, min, max, .. } => {
            let inner = walk(node);
            if *min == 0 {
                if *max == Some(1) {
                    return alternatives([inner, Info::empty()].into_iter());
                }
                Info::unknown()
            } else if *min == 1 && *max == Some(1) {
                inner
            } else {
                Info {
                    exact: None,
                    best: inner.clause(),
                }
            }
        }
        Node::Concat(v) => concat(v),
    }
}

fn alternatives(parts: impl Iterator<Item = Info>) -> Info {
    let mut exact = Some(Vec::new());
    let mut best = Some(Vec::new());
    for p in parts {
        exact = match (exact, &p.exact) {
            (Some(mut a), Some(b)) => {
                a.extend(b.iter().cloned());
                Some(a)
            }
            _ => None,
        };
        best = match (best, p.clause()) {
            (Some(mut a), Some(b)) => {
                a.extend(b);
                Some(a)
            }
            _ => None,
        };
    }
    Info {
        exact: exact.filter(|e| e.len() <= ALTERNATIVES_MAX),
        best: best.filter(|b| !b.is_empty() && b.len() <= ALTERNATIVES_MAX),
    }
}

fn concat(items: &[Node]) -> Info {
    let mut best: Option<Clause> = None;
    let mut whole = true;
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    for item in items {
        let info = match item {
            Node::Char(c) if *c != '\n' => {
                let mut buf = [0; 4];
                let c = c.encode_utf8(&mut buf).as_bytes();
                if run.iter().all(|r| r.len() + c.len() <= LENGTH_MAX) {
                    run.iter_mut().for_each(|r| r.extend_from_slice(c));
                    continue;
                }
                walk(item)
            }
            Node::Assert(_) | Node::Look { .. } | Node::Empty => continue,
            _ => walk(item),
        };
        best = better(best, info.best);
        let Some(exact) = info.exact else {
            whole = false;
            best = better(best, Some(std::mem::take(&mut run)));
            run = vec![Vec::new()];
            continue;
        };
        let longest = |v: &[Vec<u8>]| v.iter().map(Vec::len).max().unwrap_or(0);
        if run.len() * exact.len() <= ALTERNATIVES_MAX
            && longest(&run) + longest(&exact) <= LENGTH_MAX
        {
            run = run
                .iter()
                .flat_map(|a| {
                    exact
                        .iter()
                        .map(move |b| [a.as_slice(), b.as_slice()].concat())
                })
                .collect();
        } else {
            whole = false;
            best = better(best, Some(std::mem::take(&mut run)));
            run = if longest(&exact) <= LENGTH_MAX {
                exact
            } else {
                vec![Vec::new()]
            };
        }
    }
    if whole {
        return Info {
            exact: Some(run),
            best,
        };
    }
    Info {
        exact: None,
        best: better(best, Some(run)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn what_a_line_must_hold() {
        for (pattern, want) in [
            (
                "^[iI](?:llegal|nvalid) user .* from",
                "Illegal user |Invalid user |illegal user |invalid user ",
            ),
            (r"^\S+ warning: .*", " warning: "),
            (r"a+b*", ""),
            (r"(?:abc|de)x", "abcx|dex"),
            (r"foo(?:bar)? baz", "foo baz|foobar baz"),
            (r"(?:foo|\d+)", ""),
            (r"x(?!never)yz", "xyz"),
        ] {
            let node = parse(pattern, false).unwrap().node;
            let got = required(&node).unwrap_or_default();
            let got: Vec<_> = got.iter().map(|l| String::from_utf8_lossy(l)).collect();
            assert_eq!(got.join("|"), want, "{pattern}");
        }
    }
}
