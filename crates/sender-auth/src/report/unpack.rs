//! Reports come packed: gzip, or a zip archive with one file.

use std::fmt;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder};

/// Largest unpacked report in octets; some 60,000 rows.
pub const UNPACKED_MAX: usize = 64 << 20;

/// Why an archive is not unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnpackError {
    /// Larger than [`UNPACKED_MAX`] when unpacked.
    TooLarge,
    /// Damaged or cut.
    Broken,
    /// A way of packing nobody uses for reports.
    Method,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "larger than 64 MiB when unpacked",
            Self::Broken => "the archive is damaged",
            Self::Method => "packed in an unknown way",
        })
    }
}

/// Unpacks gzip and the first file of a zip archive; anything else is returned as it is.
///
/// # Errors
/// See [`UnpackError`]; memory stays below [`UNPACKED_MAX`] and a little.
pub fn unpack(data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if data.starts_with(&[0x1f, 0x8b]) {
        inflated(MultiGzDecoder::new(data))
    } else if data.starts_with(b"PK\x03\x04") {
        zipped(data)
    } else if data.len() > UNPACKED_MAX {
        Err(UnpackError::TooLarge)
    } else {
        Ok(data.to_vec())
    }
}

fn inflated(decoder: impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    decoder
        .take(UNPACKED_MAX as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|_| UnpackError::Broken)?;
    if out.len() > UNPACKED_MAX {
        return Err(UnpackError::TooLarge);
    }
    Ok(out)
}

/// The local header of the first file (30 octets, name, extra field) and its data. A deflated
/// stream knows its own end; the directory at the end of the archive is not needed.
fn zipped(data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let short = |at: usize| -> Result<usize, UnpackError> {
        match data.get(at..at + 2) {
            Some([low, high]) => Ok(usize::from(*low) | usize::from(*high) << 8),
            _ => Err(UnpackError::Broken),
        }
    };
    let flags = short(6)?;
    let method = short(8)?;
    let size = short(18)? | short(20)? << 16;
    let start = 30 + short(26)? + short(28)?;
    let body = data.get(start..).ok_or(UnpackError::Broken)?;
    // Encrypted; or stored with a length that only follows behind.
    if flags & 1 != 0 || (method == 0 && flags & 8 != 0) {
        return Err(UnpackError::Method);
    }
    match method {
        0 if size > UNPACKED_MAX => Err(UnpackError::TooLarge),
        0 => Ok(body.get(..size).ok_or(UnpackError::Broken)?.to_vec()),
        8 => inflated(DeflateDecoder::new(body)),
        _ => Err(UnpackError::Method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write as _;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(data: &[u8], method: u8, flags: u8) -> Vec<u8> {
        let packed = if method == 8 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        } else {
            data.to_vec()
        };
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend([flags, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        out.extend([5, 0, 2, 0]);
        out.extend(b"a.xmlxx");
        out.extend(packed);
        out.extend(b"PK\x01\x02rest");
        out
    }

    #[test]
    fn unpacks() {
        assert_eq!(unpack(b"<a/>").unwrap(), b"<a/>");
        assert_eq!(unpack(&gzip(b"<a/>")).unwrap(), b"<a/>");
        assert_eq!(unpack(&zip(b"<a/>", 8, 8)).unwrap(), b"<a/>");
        assert_eq!(unpack(&zip(b"<a/>", 0, 0)).unwrap(), b"<a/>");
        assert_eq!(unpack(&zip(b"<a/>", 0, 8)), Err(UnpackError::Method));
        assert_eq!(unpack(&zip(b"<a/>", 8, 1)), Err(UnpackError::Method));
        assert_eq!(unpack(&zip(b"<a/>", 12, 0)), Err(UnpackError::Method));
        for cut in 2..gzip(b"<a/>").len() {
            assert_eq!(
                unpack(&gzip(b"<a/>")[..cut]),
                Err(UnpackError::Broken),
                "{cut}"
            );
        }
        for cut in 4..40 {
            assert!(unpack(&zip(b"<a/>", 8, 0)[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn bombs() {
        for (length, good) in [
            (UNPACKED_MAX - 1, true),
            (UNPACKED_MAX, true),
            (UNPACKED_MAX + 1, false),
        ] {
            let data = vec![b' '; length];
            assert_eq!(unpack(&gzip(&data)).is_ok(), good);
        }
        let data = vec![b' '; UNPACKED_MAX + 1];
        assert_eq!(unpack(&zip(&data, 8, 8)), Err(UnpackError::TooLarge));
        assert_eq!(unpack(&data), Err(UnpackError::TooLarge));
    }
}
