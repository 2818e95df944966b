//! A message from a file or standard input in the form in which it goes over the wire.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::context::Failure;

/// Octets read at once.
const BLOCK: usize = 65_536;

/// Longest message that is held whole (to sign or seal it), in octets.
pub const MESSAGE_MAX: usize = 256 << 20;

/// Where the message is.
#[derive(clap::Args)]
pub struct Source {
    /// The message; standard input if none is named.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Source {
    /// Hands the message to `take` in blocks, lines ended by CR LF.
    pub fn for_each(&self, take: impl FnMut(&[u8])) -> Result<LineEnds, Failure> {
        for_each(self.file.as_deref(), take)
    }

    /// The whole message, and how its lines were ended.
    pub fn whole(&self) -> Result<(Vec<u8>, LineEnds), Failure> {
        whole(self.file.as_deref())
    }
}

/// How lines end in a file. A file whose first line ends with a bare LF is one of this host:
/// all its lines are brought to CR LF. Otherwise nothing is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnds {
    Local,
    Wire,
}

impl LineEnds {
    /// Brings text in wire form to the form that the message had.
    pub fn restore(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Wire => text.to_vec(),
            Self::Local => {
                let mut out = Vec::with_capacity(text.len());
                let mut rest = text.iter().peekable();
                while let Some(b) = rest.next() {
                    if *b != b'\r' || rest.peek() != Some(&&b'\n') {
                        out.push(*b);
                    }
                }
                out
            }
        }
    }
}

/// The whole message of a file, or of standard input without one.
pub fn whole(file: Option<&Path>) -> Result<(Vec<u8>, LineEnds), Failure> {
    let mut message = Vec::new();
    let mut too_long = false;
    let ends = for_each(file, |block| {
        too_long |= message.len() + block.len() > MESSAGE_MAX;
        if !too_long {
            message.extend_from_slice(block);
        }
    })?;
    if too_long {
        return Err(Failure::permanent(format!(
            "the message is larger than {} MiB",
            MESSAGE_MAX >> 20
        )));
    }
    Ok((message, ends))
}

fn for_each(file: Option<&Path>, take: impl FnMut(&[u8])) -> Result<LineEnds, Failure> {
    match file {
        Some(path) => File::open(path)
            .and_then(|mut file| read(&mut file, take))
            .map_err(|error| Failure::io(path.display(), &error)),
        None => read(&mut io::stdin().lock(), take)
            .map_err(|error| Failure::io("standard input", &error)),
    }
}

fn read(input: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<LineEnds> {
    let mut block = vec![0; BLOCK];
    let mut ends = None;
    let mut last = 0;
    loop {
        let length = match input.read(&mut block) {
            Ok(0) => return Ok(ends.unwrap_or(LineEnds::Wire)),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let octets = block.get(..length).unwrap_or_default();
        if ends.is_none() {
            ends = octets.iter().position(|b| *b == b'\n').map(|lf| {
                let before = match lf {
                    0 => last,
                    _ => octets.get(lf - 1).copied().unwrap_or(0),
                };
                if before == b'\r' {
                    LineEnds::Wire
                } else {
                    LineEnds::Local
                }
            });
        }
        if ends == Some(LineEnds::Local) {
            take(&to_wire(octets, last));
        } else {
            take(octets);
        }
        last = octets.last().copied().unwrap_or(0);
    }
}

/// Puts a CR before each LF that has none.
fn to_wire(octets: &[u8], mut last: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 16);
    for b in octets {
        if *b == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*b);
        last = *b;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most `step` octets at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(self.1).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    #[test]
    fn line_ends() {
        for (text, expected, ends) in [
            (&b"a\nb\n\nc"[..], &b"a\r\nb\r\n\r\nc"[..], LineEnds::Local),
            (b"a\r\nb\n", b"a\r\nb\n", LineEnds::Wire),
            (b"a\nb\r\n", b"a\r\nb\r\n", LineEnds::Local),
            (b"\n", b"\r\n", LineEnds::Local),
            (b"", b"", LineEnds::Wire),
        ] {
            for step in 1..8 {
                let mut found = Vec::new();
                let mut slow = Slow(text, step);
                let how = read(&mut slow, |block| found.extend_from_slice(block)).unwrap();
                assert_eq!((&found[..], how), (expected, ends), "step {step}");
            }
        }
        assert_eq!(LineEnds::Local.restore(b"a\r\n\rb\r\n"), b"a\n\rb\n");
    }
}
