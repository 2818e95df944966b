//! One log and the filters that read it: each line is dated and scanned once for all of them.

use super::definition::FilterConf;
use super::failregex::UseDns;
use super::filter::{Failure, Filter, FilterError, Line};
use crate::date::{BadDate, Dated, Detector, Zone, offset_minutes};
use crate::pattern::Machine;
use crate::scan::{Hits, Scanner};
use crate::source::encoding::Encoding;

/// Longest line that is looked at, in octets. A longer one is passed over whole and counted:
/// the part before a cut could say what the line as a whole does not.
pub const LINE_MAX: usize = 64 * 1024;
/// For how long a line without a date takes that of the line before, in seconds.
const BORROW: f64 = 60.0;

/// Why a filter can't be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddError {
    /// One of its patterns.
    Filter(FilterError),
    /// Its `datepattern`.
    Date(BadDate),
    /// Its `logtimezone`.
    Zone(String),
}

impl std::fmt::Display for AddError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AddError::Filter(e) => write!(f, "{e}"),
            AddError::Date(e) => write!(f, "{e}"),
            AddError::Zone(z) => write!(f, "logtimezone {z} is not known"),
        }
    }
}

impl std::error::Error for AddError {}

#[derive(Debug)]
struct Clock {
    pattern: Option<String>,
    offset: Option<i32>,
    detector: Detector,
    last: Option<f64>,
    /// Answer for the present line.
    dated: Option<Dated>,
}

#[derive(Debug)]
struct Reader {
    filter: Filter,
    /// Index into the clocks; none for a source that brings its own times.
    clock: Option<usize>,
}

/// A log and its filters.
#[derive(Debug)]
pub struct Watch {
    readers: Vec<Reader>,
    clocks: Vec<Clock>,
    scanner: Option<Scanner>,
    zone: Zone,
    machine: Machine,
    hits: Hits,
    text: String,
    lossy: String,
    too_long: u64,
    year: i64,
    encoding: Encoding,
}

impl Watch {
    /// A log without filters. `now` is the present second: the years that dates may have follow
    /// from it.
    #[must_use]
    pub fn new(zone: Zone, now: i64) -> Watch {
        let year = zone.civil(now).map_or(2026, |c| c.year);
        Watch {
            readers: Vec::new(),
            clocks: Vec::new(),
            scanner: None,
            zone,
            machine: Machine::default(),
            hits: Hits::new(),
            text: String::new(),
            lossy: String::new(),
            too_long: 0,
            year,
            encoding: Encoding::default(),
        }
    }

    /// Adds a filter and gives its index. With `dated` false, lines bring their time along
    /// (the journal) and none is looked for in the text.
    ///
    /// # Errors
    /// [`AddError`], naming what can't be taken over.
    pub fn add(
        &mut self,
        conf: &FilterConf,
        dns: UseDns,
        timezone: Option<&str>,
        dated: bool,
    ) -> Result<usize, AddError> {
        let filter = Filter::new(conf, dns).map_err(AddError::Filter)?;
        let clock = if dated {
            let offset = match timezone {
                None => None,
                Some(z) => Some(offset_minutes(z).ok_or_else(|| AddError::Zone(z.to_owned()))?),
            };
            let same = self
                .clocks
                .iter()
                .position(|c| c.pattern == conf.datepattern && c.offset == offset);
            Some(match same {
                Some(i) => i,
                None => {
                    let detector = Detector::new(conf.datepattern.as_deref(), offset, self.year)
                        .map_err(AddError::Date)?;
                    self.clocks.push(Clock {
                        pattern: conf.datepattern.clone(),
                        offset,
                        detector,
                        last: None,
                        dated: None,
                    });
                    self.clocks.len() - 1
                }
            })
        } else {
            None
        };
        self.readers.push(Reader { filter, clock });
        self.scanner = None;
        Ok(self.readers.len() - 1)
    }

    /// Whether doubtful lines are charged (see [`Filter::set_charge_doubtful`]), for the filters
    /// added so far.
    pub fn set_charge_doubtful(&mut self, charge: bool) {
        for r in &mut self.readers {
            r.filter.set_charge_doubtful(charge);
        }
    }

    /// In which letters the log is written (UTF-8 unless this is called).
    pub fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// A filter by index.
    #[must_use]
    pub fn filter(&self, index: usize) -> Option<&Filter> {
        self.readers.get(index).map(|r| &r.filter)
    }

    /// Lines longer than [`LINE_MAX`] that were passed over.
    #[must_use]
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    fn prepare(&mut self) {
        let mut texts: Vec<Vec<u8>> = self
            .readers
            .iter()
            .flat_map(|r| r.filter.required())
            .map(<[u8]>::to_vec)
            .collect();
        texts.sort();
        texts.dedup();
        let scanner = Scanner::new(&texts);
        for r in &mut self.readers {
            r.filter.set_bits(scanner.words(), &|t| {
                texts.binary_search_by(|x| x.as_slice().cmp(t)).unwrap_or(0)
            });
        }
        self.scanner = Some(scanner);
    }

    /// Looks at one line (with or without the newline at its end; other line ends are cut off
    /// too). `now` is the present second, `time` when the source says when the line was written.
    /// Failures are given to `out` with the index of the filter.
    pub fn line(
        &mut self,
        line: &[u8],
        now: i64,
        time: Option<f64>,
        out: &mut dyn FnMut(usize, Failure),
    ) {
        let mut line = line;
        while let [head @ .., b'\n' | b'\r'] = line {
            line = head;
        }
        if line.len() > LINE_MAX {
            self.too_long += 1;
            return;
        }
        if self.scanner.is_none() {
            self.prepare();
        }
        let Some(scanner) = &self.scanner else { return };
        let mut lossy = std::mem::take(&mut self.lossy);
        let full = self.encoding.decode(line, &mut lossy);
        for c in &mut self.clocks {
            c.dated = c
                .detector
                .find(full, now, &mut self.zone, &mut self.machine);
            if let Some(Dated { time: Some(t), .. }) = c.dated {
                c.last = Some(t);
            }
        }
        // what was cut out of the line for the present scan and text
        let mut cut: Option<(usize, usize)> = None;
        let mut copied: Option<(usize, usize)> = None;
        for (index, r) in self.readers.iter_mut().enumerate() {
            let (span, when) = match r.clock.and_then(|c| self.clocks.get(c)) {
                None => ((0, 0), time),
                Some(c) => match c.dated {
                    Some(Dated {
                        start,
                        end,
                        time: Some(t),
                    }) => ((start, end), Some(t)),
                    dated => {
                        let borrowed = c.last.filter(|l| *l > now as f64 - BORROW);
                        match dated {
                            // a pattern that matches nothing: the log has no dates
                            Some(d) if d.start == d.end => {
                                ((0, 0), Some(borrowed.unwrap_or(now as f64)))
                            }
                            Some(d) if borrowed.is_none() => ((d.start, d.end), None),
                            _ => ((0, 0), borrowed),
                        }
                    }
                },
            };
            let (head, tail) = (
                full.get(..span.0).unwrap_or(""),
                full.get(span.1..).unwrap_or(""),
            );
            if cut != Some(span) {
                if head.is_empty() {
                    scanner.scan(tail.as_bytes(), &mut self.hits);
                } else {
                    join(&mut self.text, head, tail);
                    copied = Some(span);
                    scanner.scan(self.text.as_bytes(), &mut self.hits);
                }
                cut = Some(span);
            }
            if !r.filter.wants(&self.hits) {
                continue;
            }
            if copied != Some(span) {
                join(&mut self.text, head, tail);
                copied = Some(span);
            }
            let line = Line {
                full,
                text: &self.text,
                time: when,
            };
            if let Some(f) = r.filter.process(&line, &self.hits, now, &mut self.machine) {
                out(index, f);
            }
        }
        self.lossy = lossy;
    }
}

fn join(text: &mut String, head: &str, tail: &str) {
    text.clear();
    text.push_str(head);
    text.push_str(tail);
    text.push('\n');
}

#[cfg(test)]
mod tests;
