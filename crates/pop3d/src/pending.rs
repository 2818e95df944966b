//! Octets that wait for a socket to take them.

use std::io;

/// A buffer that is filled at the end and emptied at the front; it holds no memory while it is
/// empty.
#[derive(Debug, Default)]
pub struct Pending {
    data: Vec<u8>,
    sent: usize,
}

impl Pending {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.sent >= self.data.len()
    }

    /// Adds octets.
    pub fn push(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
    }

    /// The end of the buffer, for a core that appends its answers.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    /// Gives `write` what waits until it takes no more; `true` when nothing is left.
    ///
    /// # Errors
    /// What `write` says, `WouldBlock` apart; `WriteZero` when it takes nothing.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while let Some(rest @ [_, ..]) = self.data.get(self.sent..) {
            match write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        *self = Self::default();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_socket_takes_the_order_stays() {
        for takes in [1usize, 2, 3, 100] {
            let mut pending = Pending::default();
            let (mut got, mut rounds) = (Vec::new(), 0);
            pending.push(b"abc");
            pending.tail().extend_from_slice(b"defg");
            loop {
                let mut left = takes;
                let done = pending
                    .flush(|data| {
                        if left == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        let count = data.len().min(left);
                        left -= count;
                        got.extend_from_slice(&data[..count]);
                        Ok(count)
                    })
                    .unwrap();
                rounds += 1;
                if done {
                    break;
                }
                assert!(!pending.is_empty());
            }
            assert_eq!(got, b"abcdefg");
            assert_eq!(rounds, 7usize.div_ceil(takes));
            assert!(pending.is_empty() && pending.data.capacity() == 0);
        }
        let mut stuck = Pending::default();
        stuck.push(b"x");
        assert_eq!(
            stuck.flush(|_| Ok(0)).unwrap_err().kind(),
            io::ErrorKind::WriteZero
        );
    }
}
