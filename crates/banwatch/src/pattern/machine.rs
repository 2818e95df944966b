//! The backtracking matcher: Python's choices, a bounded number of steps.

use super::ast::Assert;
use super::program::{AHEAD, First, Inst, Mode, OPEN, Program, Table};

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Yes,
    No,
    /// The step budget was used up; nothing is known.
    Exhausted,
}

/// A slot nothing was noted in.
pub(crate) const UNSET: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
enum Frame {
    Branch {
        pc: u32,
        pos: u32,
    },
    Restore {
        slot: u32,
        old: u32,
    },
    /// A run that can be shortened down to `min`.
    Shrink {
        pc: u32,
        min: u32,
        pos: u32,
    },
    /// A lazy run that can grow by `left` characters.
    Grow {
        pc: u32,
        pos: u32,
        left: u32,
    },
}

/// Working memory of the matcher, kept between searches so that none of them allocates.
#[derive(Debug, Default)]
pub struct Machine {
    stack: Vec<Frame>,
    pub(crate) slots: Vec<u32>,
    steps: u32,
    budget: u32,
    depth: u32,
    /// First octet that the last search did not look at (an upper bound).
    pub(crate) seen: usize,
}

/// Entries the stack may hold; more means the budget is gone.
const STACK_MAX: usize = 1 << 18;

#[inline]
fn char_at(text: &str, pos: usize) -> Option<char> {
    text.get(pos..).and_then(|s| s.chars().next())
}

#[inline]
fn word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[inline]
fn can(first: &First, bytes: &[u8], pos: usize) -> bool {
    match bytes.get(pos) {
        Some(&b) => first.has(b),
        None => first.end,
    }
}

/// Length of the character of `table` at `pos`; 0 when there is none.
#[inline]
fn one(table: &Table, text: &str, pos: usize) -> usize {
    let Some(&b) = text.as_bytes().get(pos) else {
        return 0;
    };
    let verdict = table.by[b as usize];
    if verdict == Table::NO {
        return 0;
    }
    if b < 128 {
        return 1;
    }
    match char_at(text, pos) {
        Some(c) if verdict == Table::YES || table.set.contains(c) => c.len_utf8(),
        _ => 0,
    }
}

/// End of the longest run of `table` from `pos`.
#[inline]
fn run_end(table: &Table, text: &str, mut pos: usize) -> usize {
    let bytes = text.as_bytes();
    if table.set.ascii == !(1 << 10) && table.by[200] == Table::YES {
        let rest = bytes.get(pos..).unwrap_or(&[]);
        return pos + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }
    while let Some(&b) = bytes.get(pos) {
        match table.by[b as usize] {
            Table::YES => pos += 1,
            Table::NO => break,
            _ => match one(table, text, pos) {
                0 => break,
                n => pos += n,
            },
        }
    }
    pos
}

#[inline]
fn back(text: &str, mut pos: usize) -> usize {
    pos -= 1;
    while pos > 0 && !text.is_char_boundary(pos) {
        pos -= 1;
    }
    pos
}

impl Machine {
    /// Looks for the leftmost match of `p` that begins at `from` or later.
    ///
    /// Text longer than 4 GiB is not searched.
    pub(crate) fn search(&mut self, p: &Program, text: &str, from: usize, budget: u32) -> Found {
        self.steps = 0;
        self.budget = budget;
        self.seen = from;
        self.depth = 0;
        if text.len() >= UNSET as usize {
            return Found::Exhausted;
        }
        let bytes = text.as_bytes();
        let mut pos = from;
        loop {
            if let (Some(lead), false) = (&p.lead, p.anchored) {
                let rest = bytes.get(pos..).unwrap_or(&[]);
                let Some(at) = lead.find(rest) else {
                    self.seen = bytes.len() + 1;
                    return Found::No;
                };
                pos += at;
            } else if !p.anchored {
                while let Some(&b) = bytes.get(pos) {
                    if p.first.has(b) && text.is_char_boundary(pos) {
                        break;
                    }
                    pos += 1;
                }
                self.seen = self.seen.max(pos + 1);
                if pos >= bytes.len() && !p.first.end {
                    return Found::No;
                }
            } else if pos > 0 {
                return Found::No;
            } else if !can(&p.first, bytes, pos) {
                self.seen = self.seen.max(1);
                return Found::No;
            }
            self.stack.clear();
            self.slots.clear();
            self.slots.resize(p.slots, UNSET);
            if let Some(end) = self.run(p, text, 0, pos) {
                self.slots[0] = pos as u32;
                self.slots[1] = end as u32;
                return Found::Yes;
            }
            if self.steps > self.budget {
                return Found::Exhausted;
            }
            if p.anchored || pos >= bytes.len() {
                return Found::No;
            }
            pos += 1;
        }
    }

    fn set_slot(&mut self, slot: u32, value: u32) {
        let Some(s) = self.slots.get_mut(slot as usize) else {
            return;
        };
        let old = std::mem::replace(s, value);
        if old != value && (self.depth > 0 || !self.stack.is_empty()) {
            self.stack.push(Frame::Restore { slot, old });
        }
    }

    /// Undoes everything above `base`.
    fn unwind(&mut self, base: usize) {
        while self.stack.len() > base {
            if let Some(Frame::Restore { slot, old }) = self.stack.pop() {
                self.slots[slot as usize] = old;
            }
        }
    }

    /// Forgets the choices above `base` but keeps what is needed to undo the slots.
    fn commit(&mut self, base: usize) {
        let mut kept = base;
        for i in base..self.stack.len() {
            if let f @ Frame::Restore { .. } = self.stack[i] {
                self.stack[kept] = f;
                kept += 1;
            }
        }
        self.stack.truncate(kept);
    }

    /// Next alternative above `base`.
    fn retry(&mut self, p: &Program, text: &str, base: usize) -> Option<(u32, usize)> {
        let bytes = text.as_bytes();
        while self.stack.len() > base {
            match self.stack.pop()? {
                Frame::Restore { slot, old } => self.slots[slot as usize] = old,
                Frame::Branch { pc, pos } => return Some((pc, pos as usize)),
                Frame::Shrink { pc, min, pos } => {
                    let Inst::Run { follow, .. } = p.insts[pc as usize] else {
                        return None;
                    };
                    let first = &p.firsts[follow as usize];
                    let (min, mut at) = (min as usize, pos as usize);
                    while at > min {
                        at = back(text, at);
                        if can(first, bytes, at) {
                            if at > min {
                                self.stack.push(Frame::Shrink {
                                    pc,
                                    min: min as u32,
                                    pos: at as u32,
                                });
                            }
                            self.steps += (pos - at as u32) >> 3;
                            return Some((pc + 1, at));
                        }
                    }
                    self.steps += (pos - at as u32) >> 3;
                }
                Frame::Grow { pc, pos, left } => {
                    let Inst::Run { set, follow, .. } = p.insts[pc as usize] else {
                        return None;
                    };
                    let first = &p.firsts[follow as usize];
                    let table = &p.tables[set as usize];
                    let (mut at, mut left) = (pos as usize, left);
                    while left > 0 {
                        let n = one(table, text, at);
                        if n == 0 {
                            break;
                        }
                        at += n;
                        if left != OPEN {
                            left -= 1;
                        }
                        if can(first, bytes, at) {
                            self.steps += (at as u32 - pos) >> 3;
                            self.stack.push(Frame::Grow {
                                pc,
                                pos: at as u32,
                                left,
                            });
                            return Some((pc + 1, at));
                        }
                    }
                    self.seen = self.seen.max(at + 1);
                    self.steps += (at as u32 - pos) >> 3;
                }
            }
        }
        None
    }

    fn run(&mut self, p: &Program, text: &str, start: u32, from: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let base = self.stack.len();
        let (mut pc, mut pos) = (start, from);
        loop {
            self.steps += 1;
            if self.steps > self.budget || self.stack.len() > STACK_MAX {
                self.steps = self.budget.saturating_add(1);
                self.unwind(base);
                return None;
            }
            self.seen = self.seen.max(pos + 1);
            let ok = match p.insts[pc as usize] {
                Inst::Byte(b) => {
                    pc += 1;
                    let hit = bytes.get(pos) == Some(&b);
                    pos += 1;
                    hit
                }
                Inst::Literal { start, len } => {
                    let want = &p.literals[start as usize..(start + len) as usize];
                    let hit = bytes.get(pos..).is_some_and(|r| r.starts_with(want));
                    self.seen = self.seen.max(pos + len as usize);
                    pc += 1;
                    pos += len as usize;
                    hit
                }
                Inst::Set(s) => {
                    let n = one(&p.tables[s as usize], text, pos);
                    pc += 1;
                    pos += n;
                    n > 0
                }
                Inst::Run {
                    set,
                    min,
                    max,
                    follow,
                    mode,
                } => {
                    let table = &p.tables[set as usize];
                    let first = &p.firsts[follow as usize];
                    self.enter_run(text, table, first, pc, min, max, mode, &mut pos) && {
                        pc += 1;
                        true
                    }
                }
                Inst::Split {
                    first,
                    second,
                    first_set,
                    second_set,
                } => {
                    let a = can(&p.firsts[first_set as usize], bytes, pos);
                    let b = can(&p.firsts[second_set as usize], bytes, pos);
                    if a {
                        if b {
                            self.stack.push(Frame::Branch {
                                pc: second,
                                pos: pos as u32,
                            });
                        }
                        pc = first;
                    } else {
                        pc = second;
                    }
                    a || b
                }
                Inst::Jump(t) => {
                    pc = t;
                    true
                }
                Inst::Save(slot) => {
                    self.set_slot(slot, pos as u32);
                    pc += 1;
                    true
                }
                Inst::LoopBack { slot, to } => {
                    let moved = self.slots.get(slot as usize).copied() != Some(pos as u32);
                    pc = if moved { to } else { pc + 1 };
                    true
                }
                Inst::Assert(a) => {
                    pc += 1;
                    holds(a, text, pos)
                }
                Inst::Look {
                    negate,
                    width,
                    next,
                } => {
                    let at = if width == AHEAD {
                        Some(pos)
                    } else {
                        behind(text, pos, width)
                    };
                    let hit = match at {
                        None => false,
                        Some(at) => {
                            let mark = self.stack.len();
                            self.depth += 1;
                            let end = self.run(p, text, pc + 1, at);
                            self.depth -= 1;
                            if end.is_none() || negate {
                                self.unwind(mark);
                            } else {
                                self.commit(mark);
                            }
                            end.is_some()
                        }
                    };
                    pc = next;
                    hit != negate
                }
                Inst::Atomic { next } => {
                    let mark = self.stack.len();
                    self.depth += 1;
                    let end = self.run(p, text, pc + 1, pos);
                    self.depth -= 1;
                    match end {
                        Some(e) => {
                            self.commit(mark);
                            pos = e;
                        }
                        None => self.unwind(mark),
                    }
                    pc = next;
                    end.is_some()
                }
                Inst::BackRef { slot, fold } => {
                    let n = self.back_reference(text, slot, fold, pos);
                    pc += 1;
                    pos += n.unwrap_or(0);
                    n.is_some()
                }
                Inst::Cond { slot, no } => {
                    let set = self.slots.get(slot as usize).is_some_and(|&s| s != UNSET);
                    pc = if set { pc + 1 } else { no };
                    true
                }
                Inst::Match => return Some(pos),
            };
            if !ok {
                (pc, pos) = self.retry(p, text, base)?;
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn enter_run(
        &mut self,
        text: &str,
        table: &Table,
        first: &First,
        pc: u32,
        min: u32,
        max: u32,
        mode: Mode,
        pos: &mut usize,
    ) -> bool {
        let bytes = text.as_bytes();
        let mut low = *pos;
        for _ in 0..min {
            let n = one(table, text, low);
            if n == 0 {
                self.seen = self.seen.max(low + 1);
                return false;
            }
            low += n;
        }
        if mode == Mode::Lazy {
            let left = if max == OPEN { OPEN } else { max - min };
            *pos = low;
            if can(first, bytes, low) {
                if left > 0 {
                    self.stack.push(Frame::Grow {
                        pc,
                        pos: low as u32,
                        left,
                    });
                }
                return true;
            }
            // as if the shortest choice had just failed
            let mut left = left;
            let mut at = low;
            while left > 0 {
                let n = one(table, text, at);
                if n == 0 {
                    break;
                }
                at += n;
                if left != OPEN {
                    left -= 1;
                }
                if can(first, bytes, at) {
                    self.steps += ((at - low) >> 3) as u32;
                    if left > 0 {
                        self.stack.push(Frame::Grow {
                            pc,
                            pos: at as u32,
                            left,
                        });
                    }
                    *pos = at;
                    return true;
                }
            }
            self.steps += ((at - low) >> 3) as u32;
            self.seen = self.seen.max(at + 1);
            return false;
        }
        let mut end = low;
        if max == OPEN {
            end = run_end(table, text, low);
        } else {
            for _ in min..max {
                let n = one(table, text, end);
                if n == 0 {
                    break;
                }
                end += n;
            }
        }
        self.seen = self.seen.max(end + 1);
        self.steps += ((end - low) >> 5) as u32;
        if mode == Mode::Keep {
            *pos = end;
            return can(first, bytes, end);
        }
        let mut at = end;
        loop {
            if can(first, bytes, at) {
                if at > low {
                    self.stack.push(Frame::Shrink {
                        pc,
                        min: low as u32,
                        pos: at as u32,
                    });
                }
                *pos = at;
                self.steps += ((end - at) >> 3) as u32;
                return true;
            }
            if at <= low {
                self.steps += ((end - at) >> 3) as u32;
                return false;
            }
            at = back(text, at);
        }
    }

    fn back_reference(&mut self, text: &str, slot: u32, fold: bool, pos: usize) -> Option<usize> {
        let (a, b) = (
            *self.slots.get(slot as usize)?,
            *self.slots.get(slot as usize + 1)?,
        );
        if a == UNSET || b == UNSET {
            return None;
        }
        let want = text.get(a as usize..b as usize)?;
        let rest = text.get(pos..)?;
        self.seen = self.seen.max(pos + want.len());
        self.steps += (want.len() >> 4) as u32;
        let hit = if fold {
            rest.get(..want.len())
                .is_some_and(|r| r.eq_ignore_ascii_case(want))
        } else {
            rest.starts_with(want)
        };
        hit.then_some(want.len())
    }
}

fn behind(text: &str, pos: usize, width: u32) -> Option<usize> {
    let mut at = pos;
    for _ in 0..width {
        if at == 0 {
            return None;
        }
        at = back(text, at);
    }
    Some(at)
}

fn holds(a: Assert, text: &str, pos: usize) -> bool {
    let bytes = text.as_bytes();
    match a {
        Assert::Start => pos == 0,
        Assert::VeryEnd => pos == bytes.len(),
        Assert::End => {
            pos == bytes.len() || (pos + 1 == bytes.len() && bytes.get(pos) == Some(&b'\n'))
        }
        Assert::LineStart => pos == 0 || bytes.get(pos - 1) == Some(&b'\n'),
        Assert::LineEnd => pos == bytes.len() || bytes.get(pos) == Some(&b'\n'),
        Assert::WordEdge | Assert::NotWordEdge => {
            let before = if pos == 0 {
                None
            } else {
                char_at(text, back(text, pos))
            };
            (word(before) != word(char_at(text, pos))) == (a == Assert::WordEdge)
        }
    }
}
