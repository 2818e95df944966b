//! A message while it comes in.

use crate::codec::{Defect, DotDecoder, DotStep, HOPS_MAX, HeaderWatch, Missing, Seen};

use super::answers::{self, Answer};
use super::{Action, Output, Settings};

/// How many octets of a message that is already refused are read before the session is ended.
pub const DATA_DISCARD_MAX: u64 = 64 * 1024 * 1024;

/// Why a message could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// No space, no inodes, or over quota: 452 4.3.1.
    Full,
    /// Anything else, a failed sync too: 451 4.3.0.
    Broken,
}

impl SpoolError {
    pub(super) const fn refusal(self) -> Refusal {
        match self {
            Self::Full => Refusal {
                rule: "spool-full",
                answer: answers::FULL,
            },
            Self::Broken => Refusal {
                rule: "spool-error",
                answer: answers::BROKEN,
            },
        }
    }
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) rule: &'static str,
    pub(super) answer: Answer,
}

/// What a block of input led to.
pub(super) enum Progress {
    /// All input used; more is to come.
    More,
    /// The message is whole and `CommitSpool` was asked for.
    Whole { used: usize },
    /// The message has ended and is refused.
    Refused { used: usize, why: Refusal },
    /// Refused, and the peer does not stop sending.
    Flood { why: Refusal },
}

/// Between 354 and the final dot.
#[derive(Debug)]
pub(super) struct Body {
    decoder: DotDecoder,
    header: HeaderWatch,
    size: u64,
    held_cr: bool,
    refusal: Option<Refusal>,
    discarded: u64,
}

impl Body {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            decoder: DotDecoder::new(),
            header: HeaderWatch::new(settings.role.is_submission()),
            size: 0,
            held_cr: false,
            refusal: None,
            discarded: 0,
        }
    }

    /// The shell could not write; it has dropped the file.
    pub(super) fn spool_failed(&mut self, error: SpoolError) {
        self.refusal.get_or_insert(error.refusal());
    }

    /// True while the shell holds a file.
    pub(super) const fn holds_spool(&self) -> bool {
        self.refusal.is_none()
    }

    /// Takes input from offset `from` on.
    pub(super) fn input(
        &mut self,
        settings: &Settings,
        input: &[u8],
        from: usize,
        out: &mut Output,
    ) -> Progress {
        let mut pos = from;
        while pos < input.len() {
            let step = self.decoder.next(input.get(pos..).unwrap_or(&[]));
            let (content, used, end) = match step {
                DotStep::Content { content, used } => (content, used, false),
                DotStep::End { content, used } => (content, used, true),
            };
            if self.refusal.is_none() {
                self.content(settings, input, pos + content.start, pos + content.end, out);
            } else {
                self.discarded = self.discarded.saturating_add(used as u64);
            }
            pos += used;
            match (end, self.refusal) {
                (true, None) => {
                    if self.header.is_inside() {
                        self.insert(out);
                    }
                    out.actions.push(Action::CommitSpool);
                    return Progress::Whole { used: pos };
                }
                (true, Some(why)) => return Progress::Refused { used: pos, why },
                (false, Some(why)) if self.discarded > DATA_DISCARD_MAX => {
                    return Progress::Flood { why };
                }
                (false, _) => {}
            }
        }
        Progress::More
    }

    fn content(
        &mut self,
        settings: &Settings,
        input: &[u8],
        start: usize,
        mut end: usize,
        out: &mut Output,
    ) {
        self.size = self.size.saturating_add((end - start) as u64);
        let piece = input.get(start..end).unwrap_or(&[]);
        let seen = if self.header.is_inside() {
            self.header.feed(piece)
        } else {
            Seen::Nothing
        };
        let refusal = match self.decoder.defect() {
            Some(Defect::Nul) => Some(Refusal {
                rule: "nul",
                answer: answers::NUL,
            }),
            Some(_) => Some(Refusal {
                rule: "line-ends",
                answer: answers::BARE_LINE_END,
            }),
            None if self.size > settings.max_message_size => Some(Refusal {
                rule: "size",
                answer: answers::TOO_BIG,
            }),
            None if self.header.hops() > HOPS_MAX => Some(Refusal {
                rule: "hops",
                answer: answers::LOOP,
            }),
            None => None,
        };
        if refusal.is_some() {
            self.refusal = refusal;
            out.actions.push(Action::AbortSpool);
            return;
        }
        let mut start = start;
        if self.header.wants_insertion() {
            match seen {
                Seen::Nothing => {}
                Seen::HoldCr => {
                    self.held_cr = true;
                    end -= 1;
                }
                Seen::End { at } => {
                    push_range(start, start + at, out);
                    self.insert(out);
                    start += at;
                }
                Seen::Released => self.release(out),
            }
        }
        push_range(start, end, out);
    }

    fn insert(&mut self, out: &mut Output) {
        let missing: Missing = self.header.missing();
        if self.header.wants_insertion() && !missing.is_none() {
            out.actions.push(Action::SpoolMissing(missing));
        }
        self.release(out);
    }

    fn release(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.held_cr) {
            out.actions.push(Action::SpoolText(b"\r"));
        }
    }
}

fn push_range(start: usize, end: usize, out: &mut Output) {
    if start < end {
        out.actions.push(Action::SpoolData(start..end));
    }
}
