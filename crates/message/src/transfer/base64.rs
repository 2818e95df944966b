//! Base64, decoded in a stream.

/// Base64 (RFC 2045 6.8). Octets outside the alphabet are skipped; padding ends a group, not the
/// body, as concatenated base64 exists; missing padding at the end is forgiven.
#[derive(Clone, Debug, Default)]
pub struct Base64 {
    bits: u32,
    /// Characters collected of the current group, 0 to 3.
    held: u8,
    defects: u64,
}

const SKIP: u8 = 0x40;
const PAD: u8 = 0x41;
const BAD: u8 = 0x42;

/// Six-bit value, or what to do with the octet.
const BASE64_TABLE: [u8; 256] = {
    let mut table = [BAD; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table[b'\r' as usize] = SKIP;
    table[b'\n' as usize] = SKIP;
    table[b' ' as usize] = SKIP;
    table[b'\t' as usize] = SKIP;
    table[b'=' as usize] = PAD;
    table
};

fn six(octet: u8) -> u8 {
    BASE64_TABLE.get(usize::from(octet)).copied().unwrap_or(BAD)
}

impl Base64 {
    /// At the start of a body.
    pub fn new() -> Base64 {
        Base64::default()
    }

    /// Decodes a block, appending to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let [first, tail @ ..] = rest {
            if self.held == 0 {
                // Whole groups of the alphabet, the common case.
                let (groups, _) = rest.as_chunks::<4>();
                let mut done = 0;
                for [a, b, c, d] in groups {
                    let (a, b, c, d) = (six(*a), six(*b), six(*c), six(*d));
                    if (a | b | c | d) & 0xc0 != 0 {
                        break;
                    }
                    out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
                    done += 4;
                }
                if done > 0 {
                    rest = rest.get(done..).unwrap_or_default();
                    continue;
                }
            }
            self.one(*first, out);
            rest = tail;
        }
    }

    fn one(&mut self, octet: u8, out: &mut Vec<u8>) {
        match six(octet) {
            SKIP => {}
            PAD => self.pad(out),
            BAD => self.defects += 1,
            value => {
                self.bits = self.bits << 6 | u32::from(value);
                self.held += 1;
                if self.held == 4 {
                    let [_, a, b, c] = self.bits.to_be_bytes();
                    out.extend_from_slice(&[a, b, c]);
                    self.bits = 0;
                    self.held = 0;
                }
            }
        }
    }

    /// Writes what an incomplete group holds.
    fn pad(&mut self, out: &mut Vec<u8>) {
        match self.held {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&[(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            1 => self.defects += 1,
            _ => {}
        }
        self.bits = 0;
        self.held = 0;
    }

    /// Ends the body; returns how many octets had to be forgiven.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        if self.held > 0 {
            self.defects += u64::from(self.held > 1);
            self.pad(out);
        }
        self.defects
    }
}
