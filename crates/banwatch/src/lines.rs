//! Cuts a stream of octets into lines without copying them.

use std::io::Read;

/// Most octets of a line that are given out at all; a longer line is given out shortened to
/// this many, which is more than any reader of lines accepts.
pub const KEEP_MAX: usize = 128 * 1024;
const CHUNK: usize = 256 * 1024;

/// Calls `each` for every line, without its newline. A last line without one counts too.
///
/// # Errors
/// Those of reading.
pub fn for_each(input: &mut dyn Read, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0u8; CHUNK];
    let (mut begin, mut end) = (0usize, 0usize);
    let mut long: Option<Vec<u8>> = None;
    loop {
        if begin > 0 {
            buffer.copy_within(begin..end, 0);
            (begin, end) = (0, end - begin);
        }
        if end == buffer.len() {
            // a line longer than the buffer: keep its beginning, pass over the rest
            let head = long.get_or_insert_with(Vec::new);
            let room = KEEP_MAX.saturating_sub(head.len());
            head.extend(buffer.iter().take(room.min(end)));
            end = 0;
        }
        let n = match input.read(buffer.get_mut(end..).unwrap_or(&mut [])) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if n == 0 {
            let rest = buffer.get(..end).unwrap_or(&[]);
            if let Some(head) = long {
                each(&head);
            } else if !rest.is_empty() {
                each(rest);
            }
            return Ok(());
        }
        end += n;
        while let Some(len) = buffer
            .get(begin..end)
            .and_then(|b| memchr::memchr(b'\n', b))
        {
            match long.take() {
                Some(head) => each(&head),
                None => each(buffer.get(begin..begin + len).unwrap_or(&[])),
            }
            begin += len + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives out at most `step` octets at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(self.1).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn lines(data: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for_each(&mut Trickle(data, step), &mut |l| out.push(l.to_vec())).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn cut_anywhere(data in "[a\n]{0,40}", step in 1usize..7) {
            let mut want: Vec<&str> = data.split('\n').collect();
            if want.last() == Some(&"") {
                want.pop();
            }
            let got = lines(data.as_bytes(), step);
            prop_assert_eq!(got, want.iter().map(|l| l.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn long_lines_are_shortened() {
        for (n, want) in [(CHUNK - 1, CHUNK - 1), (CHUNK * 3, KEEP_MAX)] {
            let mut data = vec![b'x'; n];
            data.extend(b"\nnext\n");
            let got = lines(&data, 10_000);
            assert_eq!((got.len(), got[0].len()), (2, want));
            assert_eq!(got[1], b"next");
        }
    }
}
