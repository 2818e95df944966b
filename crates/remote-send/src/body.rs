//! The content of a queue file on its way to the wire.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use queue::wire::Content;
use smtp::codec::{BLOCK, DotEncoder};

/// A message being sent: which part of the file is still to come.
#[derive(Debug)]
pub struct Body {
    file: Rc<File>,
    offset: u64,
    left: u64,
    /// Taken when the final dot has been made.
    encoder: Option<DotEncoder>,
}

impl Body {
    /// The content of `file` from its first octet.
    pub fn new(file: Rc<File>, content: Content) -> Self {
        Self {
            file,
            offset: content.offset,
            left: content.length,
            encoder: Some(DotEncoder::new()),
        }
    }

    /// Whether the final dot has been made.
    pub const fn is_finished(&self) -> bool {
        self.encoder.is_none()
    }

    /// Appends the next block, ready for the wire, and after the last one the final dot. `block`
    /// is working space of [`BLOCK`] octets that all connections share.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file is shorter than the packet said. The final dot
    /// has not been made then.
    pub fn next(&mut self, block: &mut [u8], out: &mut Vec<u8>) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        let want = block.len().min(usize::try_from(self.left).unwrap_or(BLOCK));
        if let Some(block) = block.get_mut(..want).filter(|block| !block.is_empty()) {
            self.file.read_exact_at(block, self.offset)?;
            out.reserve(want + want / 16 + 8);
            encoder.encode(block, out);
            self.offset += want as u64;
            self.left -= want as u64;
        }
        if self.left == 0
            && let Some(encoder) = self.encoder.take()
        {
            encoder.finish(out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn send(content: &[u8], block: usize) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"header").unwrap();
        file.write_all(content).unwrap();
        file.write_all(b"log behind it").unwrap();
        let content = Content {
            offset: 6,
            length: content.len() as u64,
        };
        let mut body = Body::new(Rc::new(file), content);
        let mut out = Vec::new();
        let mut space = vec![0; block];
        while !body.is_finished() {
            body.next(&mut space, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn in_blocks_of_any_size() {
        let content = b"Subject: x\r\n\r\n.dot\r\n..\r\ntext\r\n";
        let expected = b"Subject: x\r\n\r\n..dot\r\n...\r\ntext\r\n.\r\n";
        for block in 1..content.len() + 2 {
            assert_eq!(send(content, block), expected, "blocks of {block}");
        }
        assert_eq!(send(b"", 8), b".\r\n");
    }

    #[test]
    fn at_the_edges_of_a_block() {
        for length in [BLOCK - 1, BLOCK, BLOCK + 1] {
            let mut content = vec![b'a'; length - 2];
            content.extend_from_slice(b"\r\n");
            assert_eq!(send(&content, BLOCK).len(), length + 3);
        }
    }

    #[test]
    fn a_file_that_ends_early_never_gets_its_dot() {
        let file = Rc::new(tempfile::tempfile().unwrap());
        let mut body = Body::new(
            file,
            Content {
                offset: 0,
                length: 1,
            },
        );
        let mut out = Vec::new();
        let error = body.next(&mut [0; 16], &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(out.is_empty() && !body.is_finished());
    }
}
