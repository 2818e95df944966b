//! Every parser of this crate on any octets: for the fuzz targets, and for a property test on
//! stable. Panics where what was read does not read back equal.

use crate::format::envelope::Envelope;
use crate::format::header::{HEADER_LEN, Header};
use crate::format::outcome::Outcome;
use crate::format::state::{Retry, State};
use crate::id::QueueId;
use crate::wire::local::{Delivery, FromParent, Outcome as Done, ToParent};
use crate::wire::remote::{FromRemote, ToRemote};

/// Reads `data` as a queue file, then its parts as if each checksum were right.
///
/// # Panics
/// When a value that was read does not survive being written.
pub fn file(data: &[u8]) {
    if let Ok(header) = Header::decode(data) {
        let again = header.encode(b"");
        assert_eq!(Header::decode(&again), Ok(header));
        let _ = Header::verify(data, data.get(HEADER_LEN..).unwrap_or_default());
        assert!(
            header.log_offset() < 1 << 41,
            "offsets stay far from overflow"
        );
    }
    let retry = Retry::from_header(data);
    let mut head = [0; HEADER_LEN];
    head[64..96].copy_from_slice(&retry.encode());
    assert_eq!(Retry::from_header(&head), retry);
    let (count, records) = data.split_at_checked(1).unwrap_or((&[1], data));
    let count = u32::from(count.first().copied().unwrap_or(1));
    if let Ok(envelope) = Envelope::decode(records, count) {
        let mut again = Vec::new();
        if envelope.encode(&mut again).is_ok() {
            assert_eq!(Envelope::decode(&again, count), Ok(envelope));
        }
    }
    let (outcomes, used) = Outcome::decode_all(data);
    assert!(used <= data.len());
    for outcome in outcomes {
        let mut again = Vec::new();
        outcome.encode(&mut again);
        let _ = Outcome::decode(&again);
    }
    for &octet in data.iter().take(16) {
        if let Ok(state) = State::from_octet(octet) {
            assert_eq!(state.octet(), octet);
        }
    }
    if let Ok(id) = QueueId::from_bytes(data) {
        assert_eq!(id.as_bytes().as_slice(), data);
    }
}

/// Reads `data` as each kind of packet.
///
/// # Panics
/// When a packet that was read is written as other octets.
pub fn packets(data: &[u8]) {
    let mut out = Vec::new();
    macro_rules! again {
        ($($kind:ident),*) => {$(
            if let Ok(packet) = $kind::decode(data) {
                assert_eq!(packet.encode(&mut out), Ok(()));
                assert_eq!(out, data);
            }
        )*};
    }
    again!(ToParent, FromParent, Delivery, Done, ToRemote, FromRemote);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_octets(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::file(&data);
            super::packets(&data);
        }

        /// Octets that come closer: right first octets, short lengths.
        #[test]
        fn nearly(kind in 0..7usize, data in proptest::collection::vec(0..6u8, 0..200)) {
            let mut packet = vec![b"WEDRAH\x01"[kind]];
            packet.extend_from_slice(&data);
            super::packets(&packet);
            let mut file = b"HKYQ\x01\x00\x80\x00".to_vec();
            file.extend_from_slice(&data);
            super::file(&file);
            super::file(&packet);
        }
    }
}
