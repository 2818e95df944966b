//! The stack of open multiparts and the test whether a line is one of their delimiters.

use super::BOUNDARY_MAX;

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Frame {
    part: u32,
    /// Where its boundary lies in the arena; an empty range when there is nothing to match (an
    /// embedded message, or a multipart after its final delimiter).
    at: u32,
    len: u32,
    /// The boundary's first octets and its length, compared before the octets themselves.
    key: u64,
    /// A multipart/digest.
    digest: bool,
}

/// Boundaries live in one growing string, so that an open multipart costs no allocation of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Boundaries {
    frames: Vec<Frame>,
    arena: Vec<u8>,
    /// Frames that have a boundary to match.
    live: u32,
}

/// A delimiter line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimiter {
    /// Height of the frame in the stack.
    pub(super) frame: usize,
    /// It is the final one.
    pub(super) closes: bool,
}

impl Boundaries {
    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// Whether any line has to be looked at.
    pub(super) fn any(&self) -> bool {
        self.live > 0
    }

    /// Opens a container; `boundary` is empty for an embedded message.
    pub(super) fn push(&mut self, part: u32, boundary: &[u8], digest: bool) {
        debug_assert!(boundary.len() <= BOUNDARY_MAX);
        let at = self.arena.len() as u32;
        self.arena.extend_from_slice(boundary);
        self.live += u32::from(!boundary.is_empty());
        self.frames.push(Frame {
            part,
            at,
            len: boundary.len() as u32,
            key: key(boundary),
            digest,
        });
    }

    /// The part of a frame, and whether it is a multipart/digest.
    pub(super) fn part(&self, frame: usize) -> Option<(u32, bool)> {
        self.frames
            .get(frame)
            .map(|frame| (frame.part, frame.digest))
    }

    /// Removes the innermost container; tells its part and whether its final delimiter is missing.
    pub(super) fn pop(&mut self) -> Option<(u32, bool)> {
        let frame = self.frames.pop()?;
        self.live -= u32::from(frame.len > 0);
        self.arena.truncate(frame.at as usize);
        Some((frame.part, frame.len > 0))
    }

    /// Marks a multipart as closed: what follows is its epilogue.
    pub(super) fn close(&mut self, frame: usize) {
        if let Some(frame) = self.frames.get_mut(frame) {
            self.live -= u32::from(frame.len > 0);
            frame.len = 0;
            frame.key = 0;
        }
    }

    /// Forgets all boundaries: the rest of the message is content.
    pub(super) fn silence(&mut self) {
        for frame in &mut self.frames {
            frame.len = 0;
        }
        self.live = 0;
    }

    /// Compares a line (without line end) with all open boundaries, innermost first, as a whole:
    /// a boundary that begins with another one is no trap.
    pub(super) fn find(&self, line: &[u8]) -> Option<Delimiter> {
        let mut text = line.strip_prefix(b"--")?;
        while let [head @ .., b' ' | b'\t'] = text {
            text = head;
        }
        if text.is_empty() {
            return None;
        }
        let stem = text.strip_suffix(b"--").unwrap_or_default();
        let (text_key, stem_key) = (key(text), key(stem));
        for (height, frame) in self.frames.iter().enumerate().rev() {
            if frame.len == 0 || (frame.key != text_key && frame.key != stem_key) {
                continue;
            }
            let boundary = self
                .arena
                .get(frame.at as usize..(frame.at + frame.len) as usize)?;
            if boundary == text {
                return Some(Delimiter {
                    frame: height,
                    closes: false,
                });
            }
            if boundary == stem {
                return Some(Delimiter {
                    frame: height,
                    closes: true,
                });
            }
        }
        None
    }
}

fn key(boundary: &[u8]) -> u64 {
    // The last octets differ more often than the first: programs begin with a fixed word.
    let mut octets = [0u8; 8];
    for (to, from) in octets.iter_mut().zip(boundary.iter().rev().take(7)) {
        *to = *from;
    }
    octets[7] = boundary.len() as u8;
    u64::from_le_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_only() {
        let mut stack = Boundaries::default();
        stack.push(0, b"outer", false);
        stack.push(1, b"outer-inner", false);
        let at = |line: &[u8]| stack.find(line).map(|d| (d.frame, d.closes));
        assert_eq!(at(b"--outer"), Some((0, false)));
        assert_eq!(at(b"--outer-- \t"), Some((0, true)));
        assert_eq!(at(b"--outer-inner"), Some((1, false)));
        assert_eq!(at(b"--outer-inner--"), Some((1, true)));
        assert_eq!(at(b"--outer-"), None);
        assert_eq!(at(b"--outerx"), None);
        assert_eq!(at(b"-outer"), None);
        assert_eq!(at(b"----"), None);
        assert_eq!(at(b"--"), None);
    }

    #[test]
    fn closed_and_popped_ones_do_not_match() {
        let mut stack = Boundaries::default();
        stack.push(0, b"a", false);
        stack.push(1, b"b--", false);
        assert_eq!(
            stack.find(b"--b--"),
            Some(Delimiter {
                frame: 1,
                closes: false
            })
        );
        stack.close(1);
        assert_eq!(stack.find(b"--b--"), None);
        assert_eq!(stack.pop(), Some((1, false)));
        assert!(stack.any());
        assert_eq!(stack.pop(), Some((0, true)));
        assert!(!stack.any() && stack.pop().is_none());
    }
}
