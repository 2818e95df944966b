//! Finds the date in each line of one log, learning which format the log uses.

use std::rc::Rc;

use super::template::{BadDate, Template, untied};
use super::zone::Zone;
use crate::pattern::Machine;

/// Parts of the usual formats.
macro_rules! part {
    (day_name) => {
        "(?:%a )?"
    };
    (clock) => {
        "%H:%M:%S"
    };
    // the hour may have a space in place of its zero
    (wide_clock) => {
        "%k:%M:%S"
    };
    (point_fraction) => {
        r"(?:\.%f)?"
    };
    (fraction) => {
        "(?:[.,]%f)?"
    };
    (then_year) => {
        "(?: %ExY)?"
    };
    (then_offset) => {
        r"(?:\s*%z)?"
    };
    (between) => {
        "(?:T| {1,2})"
    };
    // what syslog and asctime write
    (stamp) => {
        concat!(
            part!(day_name),
            "%b %d ",
            part!(wide_clock),
            part!(point_fraction),
            part!(then_year)
        )
    };
}

/// The formats tried where nothing else is said, most precise first.
const DEFAULT: [&str; 17] = [
    // 2005-01-23T21:59:59.98+0200, 2005/01/23 21:59:59, 2005.01.23 21:59:59
    concat!(
        "%ExY(?P<mark>[-/.])%m(?P=mark)%d",
        part!(between),
        part!(clock),
        part!(fraction),
        part!(then_offset)
    ),
    // Jan 23 21:59:59, Sun Jan 23 21:59:59.01 2005
    part!(stamp),
    // Sun Jan 23 2005 21:59:59
    concat!(
        part!(day_name),
        "%b %d %ExY ",
        part!(wide_clock),
        part!(point_fraction)
    ),
    // 23/01/2005 21:59:59, 23-01-05 21:59:59
    concat!(
        "%d(?P<mark>[-/])%m(?P=mark)(?:%ExY|%Exy) ",
        part!(wide_clock)
    ),
    // 23/Jan/2005:21:59:59 +0200, 23-Jan-2005 21:59:59.25
    concat!(
        "%d(?P<mark>[-/])%b(?P=mark)%ExY[ :]?",
        part!(clock),
        part!(point_fraction),
        "(?: %z)?"
    ),
    // 01/23/2005:21:59:59
    concat!("%m/%d/%ExY:", part!(clock)),
    // 01-23-2005 21:59:59.25
    concat!("%m-%d-%ExY ", part!(wide_clock), part!(point_fraction)),
    "EPOCH",
    concat!("{^LN-BEG}", part!(clock)),
    // <01/23/05@21:59:59>
    concat!("^<%m/%d/%Exy@", part!(clock), ">"),
    // 050123 21:59:59
    concat!("%Exy%Exm%Exd {1,2}", part!(clock)),
    // Jan 23, 2005 9:59:59 PM
    "%b %d, %ExY %I:%M:%S %p",
    // Jan-23-05 21:59:59
    concat!("^%b-%d-%Exy ", part!(wide_clock)),
    // 20050123T215959, 20050123 215959
    concat!(
        "%ExY%Exm%Exd",
        part!(between),
        "%ExH%ExM%ExS",
        part!(fraction),
        part!(then_offset)
    ),
    // with a zone in front
    concat!("(?:%Z )?", part!(stamp)),
    concat!("(?:%z )?", part!(stamp)),
    "TAI64N",
];

/// Most lines of one `datepattern`.
pub const PATTERNS_MAX: usize = 50;
/// A format not seen for so many seconds loses its place.
const UNUSED: i64 = 300;
/// How long a parsed date is used again without looking at the clock, in seconds.
const FRESH: i64 = 30;

fn template(source: &str, year: i64) -> Result<Template, BadDate> {
    let key = if source.contains('%') {
        source.to_owned()
    } else {
        source.to_uppercase()
    };
    let (line, bare) = match key.strip_prefix("{^LN-BEG}").or(key.strip_prefix('^')) {
        Some(b) => (true, b),
        None => (false, key.as_str()),
    };
    match bare {
        "EPOCH" => return Template::epoch("Epoch", line, None, false),
        "LEPOCH" => return Template::epoch("LongEpoch", line, None, true),
        "TAI64N" => return Template::tai(line),
        _ => {}
    }
    for (tag, long) in [("{EPOCH}", false), ("{LEPOCH}", true)] {
        if key.contains(tag) {
            let at = source.to_uppercase().find(tag).unwrap_or(0);
            let mut fixed = source.to_owned();
            if fixed.is_char_boundary(at) && fixed.get(at..at + tag.len()).is_some() {
                fixed.replace_range(at..at + tag.len(), tag);
            }
            return Template::epoch(source, false, Some(&fixed), long);
        }
    }
    Template::fields(source, year)
}

/// What to wrap a default format into: the line's beginning, or what stands around `{DATE}`.
fn wrapped(t: &Template, wrap: &dyn Fn(&str) -> String, year: i64) -> Result<Template, BadDate> {
    template(&wrap(t.source.as_deref().unwrap_or(&t.name)), year)
}

fn defaults(year: i64, with_tied: bool) -> Result<Vec<Template>, BadDate> {
    let plain: Result<Vec<Template>, BadDate> = DEFAULT.iter().map(|s| template(s, year)).collect();
    let plain = plain?;
    if !with_tied {
        return Ok(plain);
    }
    let mut all = Vec::with_capacity(plain.len() * 2);
    for t in &plain {
        if t.name.starts_with("{^LN-BEG}") || t.name.starts_with('^') {
            continue;
        }
        let mut tied = wrapped(t, &|s| format!("{{^LN-BEG}}{s}"), year)?;
        if tied.name != t.name {
            tied.weight = 100.0;
            all.push(tied);
        }
    }
    all.extend(plain);
    Ok(all)
}

#[derive(Debug)]
struct Entry {
    template: Rc<Template>,
    /// Lines it won.
    hits: u64,
    /// Lines in which it was found at all.
    found: u64,
    last_used: i64,
    distance: usize,
}

impl Entry {
    fn weight(&self) -> f64 {
        self.hits as f64 * self.template.weight / self.distance.max(1) as f64
    }
}

/// Where the date of a line is, and when that was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dated {
    /// First octet of the date.
    pub start: usize,
    /// Octet behind it.
    pub end: usize,
    /// Seconds since 1970; none when the text is no time that exists.
    pub time: Option<f64>,
}

/// The last line's date: lines that begin with the same octets have the same one.
#[derive(Debug, Default)]
struct Last {
    prefix: Vec<u8>,
    dated: Option<Dated>,
    index: usize,
    now: i64,
}

/// Finds dates.
#[derive(Debug)]
pub struct Detector {
    entries: Vec<Entry>,
    /// Before and at the beginning, before and at the end of the last date.
    edges: [Option<u8>; 4],
    last_start: usize,
    last_end: usize,
    last_index: usize,
    first_unused: usize,
    default_offset: Option<i32>,
    last: Last,
}

impl Detector {
    /// A detector for a filter's `datepattern`, or for any usual format without one; `year` is
    /// the present one. `default_offset` (minutes) is for dates that name no zone.
    ///
    /// # Errors
    /// [`BadDate`]: a field or an expression that is not understood, or more than
    /// [`PATTERNS_MAX`] lines.
    pub fn new(
        datepattern: Option<&str>,
        default_offset: Option<i32>,
        year: i64,
    ) -> Result<Detector, BadDate> {
        let mut list: Vec<Template> = Vec::new();
        let lines = datepattern
            .unwrap_or("{DEFAULT}")
            .split('\n')
            .map(str::trim);
        for (i, line) in lines.filter(|l| !l.is_empty()).enumerate() {
            let bad = |why: &str| BadDate {
                pattern: line.to_owned(),
                why: why.to_owned(),
            };
            if i >= PATTERNS_MAX {
                return Err(bad("too many lines"));
            }
            let upper = line.to_uppercase();
            let ignore_double = !list.is_empty();
            let more = match upper.as_str() {
                "{DEFAULT}" => defaults(year, true)?,
                "{^LN-BEG}" => defaults(year, true)?
                    .into_iter()
                    .filter(|t| t.line_begin)
                    .collect(),
                "{NONE}" => vec![template("{UNB}^", year)?],
                _ => match upper.find("{DATE}") {
                    Some(at) if line.is_char_boundary(at) && line.is_char_boundary(at + 6) => {
                        let (head, tail) = (&line[..at], &line[at + 6..]);
                        let wrap = |s: &str| format!("{head}{}{tail}", untied(s));
                        let plain = defaults(year, false)?;
                        let all: Result<Vec<_>, _> =
                            plain.iter().map(|t| wrapped(t, &wrap, year)).collect();
                        let all = all?;
                        all.iter().try_for_each(Template::check)?;
                        all
                    }
                    _ => {
                        let t = template(line, year)?;
                        t.check()?;
                        vec![t]
                    }
                },
            };
            for t in more {
                if list.iter().any(|have| have.name == t.name) {
                    if !ignore_double {
                        return Err(bad("given twice"));
                    }
                    continue;
                }
                list.push(t);
            }
        }
        Ok(Detector {
            entries: list
                .into_iter()
                .map(|t| Entry {
                    template: Rc::new(t),
                    hits: 0,
                    found: 0,
                    last_used: 0,
                    distance: usize::MAX,
                })
                .collect(),
            edges: [None; 4],
            last_start: 1,
            last_end: usize::MAX,
            last_index: usize::MAX,
            first_unused: 0,
            default_offset,
            last: Last::default(),
        })
    }

    /// Finds the date of `line` (no newline at its end). `now` is the present second.
    pub fn find(
        &mut self,
        line: &str,
        now: i64,
        zone: &mut Zone,
        m: &mut Machine,
    ) -> Option<Dated> {
        if let Some(d) = self.last.dated {
            let same = line.as_bytes().starts_with(&self.last.prefix);
            if same && self.last.index == self.last_index && (now - self.last.now).abs() < FRESH {
                if let Some(e) = self.entries.get_mut(self.last_index) {
                    e.hits += 1;
                    e.last_used = now;
                    return Some(d);
                }
            }
        }
        let (index, span) = self.search(line, now, m)?;
        let template = Rc::clone(&self.entries.get(index)?.template);
        let (start, end) = m.span(1).unwrap_or(span);
        let time = if start == end {
            None
        } else {
            template.read(line, m, now, self.default_offset, zone)
        };
        let dated = Dated { start, end, time };
        self.last.dated = None;
        if template.line_begin && m.seen() < line.len() && start < end {
            self.last.prefix.clear();
            self.last
                .prefix
                .extend_from_slice(line.as_bytes().get(..=m.seen()).unwrap_or(&[]));
            self.last.dated = Some(dated);
            self.last.index = index;
            self.last.now = now;
        }
        Some(dated)
    }

    /// Index of the format and bounds of its match; the groups are left in `m`.
    fn search(&mut self, line: &str, now: i64, m: &mut Machine) -> Option<(usize, (usize, usize))> {
        let bytes = line.as_bytes();
        let byte = |at: usize| bytes.get(at).copied();
        let mut reserve: Option<(usize, usize)> = None;
        let mut skip = usize::MAX;
        let mut won: Option<usize> = None;
        let single = self.entries.len() == 1;
        if let Some(e) = self.entries.get_mut(self.last_index) {
            let t = Rc::clone(&e.template);
            let (start, end) = (self.last_start, self.last_end);
            let [b0, b1, e0, e1] = self.edges;
            let loose = |b: Option<u8>| b.is_some_and(|b| !b.is_ascii_alphanumeric());
            let before =
                start.checked_sub(1).and_then(byte) == b0 || (byte(start) == b1 && loose(b1));
            let behind = byte(end) == e1 || (end.checked_sub(1).and_then(byte) == e0 && loose(e0));
            let hit = if t.tied {
                skip = self.last_index;
                t.search(line, 0, m)
            } else if before && behind && line.is_char_boundary(start) && start <= line.len() {
                let part = line.get(..end).unwrap_or(line);
                if start <= part.len() {
                    t.search(part, start, m)
                } else {
                    false
                }
            } else {
                skip = self.last_index;
                t.search(line, 0, m)
            };
            if hit {
                e.found += 1;
                let span = m.span(0)?;
                if single || t.tied || span == (start, end) {
                    won = Some(self.last_index);
                } else {
                    reserve = Some((span.0, self.last_index));
                }
            }
        }
        if won.is_none() {
            let count = self.entries.len();
            for i in 0..count {
                if i == skip {
                    continue;
                }
                let next_found = self.entries.get(i + 1).map_or(0, |e| e.found);
                let Some(e) = self.entries.get_mut(i) else {
                    break;
                };
                let t = Rc::clone(&e.template);
                if !t.search(line, 0, m) {
                    continue;
                }
                e.found += 1;
                let (start, _) = m.span(0)?;
                let last = i + 1 >= count;
                let settled = start == 0 && e.hits > 0 && next_found == 0;
                if !last && !t.tied && !settled && (start > e.distance || start > self.last_start) {
                    // perhaps only something like a date in the message: look for a better one
                    if reserve.is_none_or(|(s, _)| start < s) {
                        reserve = Some((start, i));
                    }
                    continue;
                }
                won = Some(i);
                break;
            }
        }
        let index = match (won, reserve) {
            (Some(i), _) => i,
            (None, Some((_, i))) => {
                let t = Rc::clone(&self.entries.get(i)?.template);
                if !t.search(line, 0, m) {
                    return None;
                }
                i
            }
            (None, None) => return None,
        };
        let span = m.span(0)?;
        let e = self.entries.get_mut(index)?;
        e.hits += 1;
        e.last_used = now;
        e.distance = span.0;
        if self.first_unused == index {
            self.first_unused += 1;
        }
        self.last_start = span.0;
        self.last_end = span.1;
        self.edges = [
            span.0.checked_sub(1).and_then(byte),
            byte(span.0),
            span.1.checked_sub(1).and_then(byte),
            byte(span.1),
        ];
        let index = if index > 0 && index != self.last_index {
            self.promote(index)
        } else {
            index
        };
        self.last_index = index;
        Some((index, span))
    }

    /// Moves a format forward when it is seen more often than those before it.
    fn promote(&mut self, index: usize) -> usize {
        let Some(e) = self.entries.get(index) else {
            return index;
        };
        let (weight, stale) = (e.weight(), e.last_used - UNUSED);
        let beats = |i: usize| {
            self.entries
                .get(i)
                .is_some_and(|o| weight > o.weight() || stale > o.last_used)
        };
        let mut to = if self.first_unused < index {
            self.first_unused
        } else {
            index / 2
        };
        if !beats(to) {
            if to == index - 1 {
                return index;
            }
            to = index - 1;
            if !beats(to) {
                return index;
            }
        }
        let e = self.entries.remove(index);
        self.entries.insert(to, e);
        while self
            .entries
            .get(self.first_unused)
            .is_some_and(|e| e.hits > 0)
        {
            self.first_unused += 1;
        }
        to
    }
}

#[cfg(test)]
mod tests;
