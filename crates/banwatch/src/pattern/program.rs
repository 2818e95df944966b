//! Turns the tree of a pattern into instructions for the matcher.

use memchr::memmem::Finder;

use super::ast::{Assert, Kind, Node};
use super::charset::{CharSet, High};
use super::{PROGRAM_MAX, PatternError};

/// One step of the matcher.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inst {
    /// The octet must follow.
    Byte(u8),
    /// These octets of [`Program::literals`] must follow.
    Literal {
        start: u32,
        len: u32,
    },
    /// One character of the set.
    Set(u32),
    /// `min` to `max` characters of the set; `follow` says with which octet the rest can begin.
    Run {
        set: u32,
        min: u32,
        max: u32,
        follow: u32,
        mode: Mode,
    },
    /// Tries `first`, then `second`; either is passed over when the next octet can't begin it.
    Split {
        first: u32,
        second: u32,
        first_set: u32,
        second_set: u32,
    },
    Jump(u32),
    /// Notes the position in a slot.
    Save(u32),
    /// End of a loop's body: back to `to` if the body has moved since the slot was noted.
    LoopBack {
        slot: u32,
        to: u32,
    },
    Assert(Assert),
    /// The body follows and ends with `Match`; goes on at `next`. `width` for look-behind.
    Look {
        negate: bool,
        width: u32,
        next: u32,
    },
    Atomic {
        next: u32,
    },
    BackRef {
        slot: u32,
        fold: bool,
    },
    Cond {
        slot: u32,
        no: u32,
    },
    Match,
}

/// How a [`Inst::Run`] gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Greedy,
    Lazy,
    /// Nothing that follows can begin inside the run: it is never given back.
    Keep,
}

/// `Look::width` of a look-ahead.
pub(crate) const AHEAD: u32 = u32::MAX;
/// `Run::max` of an open repetition.
pub(crate) const OPEN: u32 = u32::MAX;

/// Octets by which something can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    bits: [u64; 4],
    /// May succeed at the end of the text.
    pub(crate) end: bool,
}

impl First {
    const NONE: First = First {
        bits: [0; 4],
        end: false,
    };
    const ANY: First = First {
        bits: [!0; 4],
        end: true,
    };

    #[inline]
    pub(crate) fn has(&self, b: u8) -> bool {
        self.bits[(b >> 6) as usize] >> (b & 63) & 1 == 1
    }

    fn add(&mut self, b: u8) {
        self.bits[(b >> 6) as usize] |= 1 << (b & 63);
    }

    fn union(mut self, o: &First) -> First {
        for (a, b) in self.bits.iter_mut().zip(o.bits) {
            *a |= b;
        }
        self.end |= o.end;
        self
    }

    fn meets(&self, o: &First) -> bool {
        self.bits.iter().zip(o.bits).any(|(a, b)| a & b != 0)
    }
}

/// A set as the matcher asks it: by octet, and by character where the octet says [`Table::ASK`].
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) by: [u8; 256],
    pub(crate) set: CharSet,
}

impl Table {
    pub(crate) const NO: u8 = 0;
    pub(crate) const YES: u8 = 1;
    pub(crate) const ASK: u8 = 2;

    fn new(set: CharSet) -> Table {
        let high = match set.high {
            High::None => Table::NO,
            High::All => Table::YES,
            High::Ask(_) => Table::ASK,
        };
        let mut by = [high; 256];
        for (i, x) in by.iter_mut().enumerate().take(128) {
            *x = (set.ascii >> i & 1) as u8;
        }
        Table { by, set }
    }

    fn first(&self) -> First {
        let mut f = First::NONE;
        for (i, &x) in self.by.iter().enumerate() {
            if x != Table::NO {
                f.add(i as u8);
            }
        }
        f
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) insts: Vec<Inst>,
    pub(crate) literals: Vec<u8>,
    pub(crate) tables: Vec<Table>,
    pub(crate) firsts: Vec<First>,
    /// Octets by which a match can begin.
    pub(crate) first: First,
    /// Slots for group bounds and loops.
    pub(crate) slots: usize,
    /// Can match at the start of the text only.
    pub(crate) anchored: bool,
    /// Text by which every match begins, if it has two octets or more.
    pub(crate) lead: Option<Box<Finder<'static>>>,
}

/// The octets that the first instructions ask for, whatever comes then.
fn lead(insts: &[Inst], literals: &[u8]) -> Option<Box<Finder<'static>>> {
    let mut text = Vec::new();
    for i in insts {
        match i {
            Inst::Save(_) => {}
            Inst::Byte(b) => text.push(*b),
            Inst::Literal { start, len } => {
                text.extend(literals.get(*start as usize..(start + len) as usize)?);
            }
            _ => break,
        }
    }
    (text.len() >= 2).then(|| Box::new(Finder::new(&text).into_owned()))
}

struct Compiler {
    insts: Vec<Inst>,
    literals: Vec<u8>,
    tables: Vec<Table>,
    slots: usize,
    groups: usize,
}

/// Compiles `node`, whose highest group is `groups - 1`.
pub(crate) fn compile(node: &Node, groups: usize) -> Result<Program, PatternError> {
    let mut c = Compiler {
        insts: Vec::new(),
        literals: Vec::new(),
        tables: Vec::new(),
        slots: groups * 2,
        groups,
    };
    c.node(node)?;
    c.push(Inst::Match)?;
    let (firsts, first) = c.firsts();
    Ok(Program {
        lead: lead(&c.insts, &c.literals),
        insts: c.insts,
        literals: c.literals,
        tables: c.tables,
        firsts,
        first,
        slots: c.slots,
        anchored: anchored(node),
    })
}

fn anchored(node: &Node) -> bool {
    match node {
        Node::Assert(Assert::Start) => true,
        Node::Concat(v) => v.first().is_some_and(anchored),
        Node::Alt(v) => v.iter().all(anchored),
        Node::Group { node, .. } | Node::Atomic(node) => anchored(node),
        Node::Repeat { node, min, .. } => *min > 0 && anchored(node),
        _ => false,
    }
}

impl Compiler {
    fn here(&self) -> u32 {
        self.insts.len() as u32
    }

    fn push(&mut self, i: Inst) -> Result<usize, PatternError> {
        if self.insts.len() >= PROGRAM_MAX {
            return Err(PatternError::TooLarge);
        }
        self.insts.push(i);
        Ok(self.insts.len() - 1)
    }

    fn table(&mut self, set: &CharSet) -> u32 {
        if let Some(i) = self.tables.iter().position(|t| t.set == *set) {
            return i as u32;
        }
        self.tables.push(Table::new(set.clone()));
        self.tables.len() as u32 - 1
    }

    fn char(&mut self, c: char) -> Result<(), PatternError> {
        let mut buf = [0; 4];
        let bytes = c.encode_utf8(&mut buf).as_bytes();
        if let [b] = bytes {
            self.push(Inst::Byte(*b))?;
        } else {
            self.literal(bytes)?;
        }
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<(), PatternError> {
        let start = self.literals.len() as u32;
        self.literals.extend_from_slice(bytes);
        self.push(Inst::Literal {
            start,
            len: bytes.len() as u32,
        })?;
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), PatternError> {
        match node {
            Node::Empty => {}
            Node::Char(c) => self.char(*c)?,
            Node::Set(s) => {
                let t = self.table(s);
                self.push(Inst::Set(t))?;
            }
            Node::Concat(items) => self.concat(items)?,
            Node::Alt(branches) => self.alternation(branches)?,
            Node::Group { index, node } => {
                self.push(Inst::Save(*index as u32 * 2))?;
                self.node(node)?;
                self.push(Inst::Save(*index as u32 * 2 + 1))?;
            }
            Node::Assert(a) => {
                self.push(Inst::Assert(*a))?;
            }
            Node::Look {
                behind,
                negate,
                node: body,
            } => {
                let width = if *behind {
                    body.width().unwrap_or(0)
                } else {
                    AHEAD
                };
                let at = self.push(Inst::Look {
                    negate: *negate,
                    width,
                    next: 0,
                })?;
                self.node(body)?;
                self.push(Inst::Match)?;
                let next = self.here();
                self.insts[at] = Inst::Look {
                    negate: *negate,
                    width,
                    next,
                };
            }
            Node::Atomic(body) => self.atomic(body)?,
            Node::BackRef { group, fold } => {
                self.push(Inst::BackRef {
                    slot: *group as u32 * 2,
                    fold: *fold,
                })?;
            }
            Node::Cond { group, yes, no } => {
                debug_assert!(*group < self.groups);
                let slot = *group as u32 * 2 + 1;
                let at = self.push(Inst::Cond { slot, no: 0 })?;
                self.node(yes)?;
                let jump = self.push(Inst::Jump(0))?;
                self.insts[at] = Inst::Cond {
                    slot,
                    no: self.here(),
                };
                self.node(no)?;
                self.insts[jump] = Inst::Jump(self.here());
            }
            Node::Repeat {
                node: body,
                kind: Kind::Possessive,
                min,
                max,
            } => {
                let inner = Node::Repeat {
                    node: body.clone(),
                    min: *min,
                    max: *max,
                    kind: Kind::Greedy,
                };
                self.atomic(&inner)?;
            }
            Node::Repeat {
                node: body,
                min,
                max,
                kind,
            } => {
                self.repeat(body, *min, *max, *kind == Kind::Lazy)?;
            }
        }
        Ok(())
    }

    fn atomic(&mut self, body: &Node) -> Result<(), PatternError> {
        let at = self.push(Inst::Atomic { next: 0 })?;
        self.node(body)?;
        self.push(Inst::Match)?;
        let next = self.here();
        self.insts[at] = Inst::Atomic { next };
        Ok(())
    }

    fn concat(&mut self, items: &[Node]) -> Result<(), PatternError> {
        let mut run = String::new();
        for item in items {
            if let Node::Char(c) = item {
                run.push(*c);
                continue;
            }
            self.flush(&mut run)?;
            self.node(item)?;
        }
        self.flush(&mut run)
    }

    fn flush(&mut self, run: &mut String) -> Result<(), PatternError> {
        match run.as_bytes() {
            [] => {}
            [b] => {
                self.push(Inst::Byte(*b))?;
            }
            many => self.literal(many)?,
        }
        run.clear();
        Ok(())
    }

    fn alternation(&mut self, branches: &[Node]) -> Result<(), PatternError> {
        let mut jumps = Vec::new();
        let Some((last, init)) = branches.split_last() else {
            return Ok(());
        };
        for b in init {
            let split = self.push(Inst::Match)?;
            let first = self.here();
            self.node(b)?;
            jumps.push(self.push(Inst::Jump(0))?);
            self.split(split, first, self.here());
        }
        self.node(last)?;
        let end = self.here();
        for j in jumps {
            self.insts[j] = Inst::Jump(end);
        }
        Ok(())
    }

    fn split(&mut self, at: usize, first: u32, second: u32) {
        self.insts[at] = Inst::Split {
            first,
            second,
            first_set: 0,
            second_set: 0,
        };
    }

    fn repeat(
        &mut self,
        body: &Node,
        min: u32,
        max: Option<u32>,
        lazy: bool,
    ) -> Result<(), PatternError> {
        let set = match body {
            Node::Set(s) => Some(self.table(s)),
            Node::Char(c) => Some(self.table(&CharSet::single(*c))),
            _ => None,
        };
        if let Some(set) = set {
            let mode = if lazy { Mode::Lazy } else { Mode::Greedy };
            self.push(Inst::Run {
                set,
                min,
                max: max.unwrap_or(OPEN),
                follow: 0,
                mode,
            })?;
            return Ok(());
        }
        for _ in 0..min {
            self.node(body)?;
        }
        match max {
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.push(Inst::Match)?);
                    self.node(body)?;
                }
                let exit = self.here();
                for s in splits {
                    let body = s as u32 + 1;
                    if lazy {
                        self.split(s, exit, body)
                    } else {
                        self.split(s, body, exit)
                    }
                }
            }
            None => {
                let slot = self.slots as u32;
                self.slots += 1;
                let top = self.push(Inst::Match)?;
                self.push(Inst::Save(slot))?;
                self.node(body)?;
                self.push(Inst::LoopBack {
                    slot,
                    to: top as u32,
                })?;
                let (body, exit) = (top as u32 + 1, self.here());
                if lazy {
                    self.split(top, exit, body)
                } else {
                    self.split(top, body, exit)
                }
            }
        }
        Ok(())
    }

    /// Works out with which octets each instruction can go on, and hands it to runs and splits.
    fn firsts(&mut self) -> (Vec<First>, First) {
        let n = self.insts.len();
        let table_firsts: Vec<First> = self.tables.iter().map(Table::first).collect();
        let mut at = vec![First::NONE; n + 1];
        if let Some(last) = at.last_mut() {
            *last = First::ANY;
        }
        // Loops go backwards: repeat until nothing changes, which is two or three rounds.
        loop {
            let mut changed = false;
            for pc in (0..n).rev() {
                let new = self.first_of(pc, &at, &table_firsts);
                changed |= new != at[pc];
                at[pc] = new;
            }
            if !changed {
                break;
            }
        }
        let mut firsts = vec![First::ANY];
        let mut intern = |f: First| -> u32 {
            match firsts.iter().position(|x| *x == f) {
                Some(i) => i as u32,
                None => {
                    firsts.push(f);
                    firsts.len() as u32 - 1
                }
            }
        };
        for pc in 0..n {
            match self.insts[pc] {
                Inst::Run {
                    set,
                    min,
                    max,
                    mode,
                    ..
                } => {
                    let next = at[pc + 1];
                    let own = table_firsts[set as usize];
                    let keep = mode == Mode::Greedy && max == OPEN && !own.meets(&next);
                    let mode = if keep { Mode::Keep } else { mode };
                    let follow = intern(next);
                    self.insts[pc] = Inst::Run {
                        set,
                        min,
                        max,
                        follow,
                        mode,
                    };
                }
                Inst::Split { first, second, .. } => {
                    let first_set = intern(at[first as usize]);
                    let second_set = intern(at[second as usize]);
                    self.insts[pc] = Inst::Split {
                        first,
                        second,
                        first_set,
                        second_set,
                    };
                }
                _ => {}
            }
        }
        (firsts, at.first().copied().unwrap_or(First::ANY))
    }

    fn first_of(&self, pc: usize, at: &[First], tables: &[First]) -> First {
        let next = at[pc + 1];
        match self.insts[pc] {
            Inst::Byte(b) => {
                let mut f = First::NONE;
                f.add(b);
                f
            }
            Inst::Literal { start, .. } => {
                let mut f = First::NONE;
                f.add(self.literals[start as usize]);
                f
            }
            Inst::Set(s) => tables[s as usize],
            Inst::Run { set, min, .. } => {
                let own = tables[set as usize];
                if min == 0 { own.union(&next) } else { own }
            }
            Inst::Split { first, second, .. } => at[first as usize].union(&at[second as usize]),
            Inst::Jump(t) => at[t as usize],
            Inst::Save(_) => next,
            Inst::LoopBack { to, .. } => at[to as usize].union(&next),
            Inst::Assert(Assert::End | Assert::LineEnd) => {
                let mut f = First::NONE;
                f.add(b'\n');
                f.end = true;
                f
            }
            Inst::Assert(Assert::VeryEnd) => First {
                bits: [0; 4],
                end: true,
            },
            Inst::Assert(_) => next,
            Inst::Look { next, .. } => at[next as usize],
            Inst::Atomic { .. } => next,
            Inst::BackRef { .. } | Inst::Match => First::ANY,
            Inst::Cond { no, .. } => next.union(&at[no as usize]),
        }
    }
}
