//! Questions as octets.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as WireName, RecordType};

use crate::{Kind, Question};

/// The UDP payload size announced by EDNS (RFC 6891), in octets: what passes every path
/// without fragments.
pub const EDNS_PAYLOAD: u16 = 1_232;

/// What a question says beyond the name and the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// No EDNS: for servers that do not know it.
    Bare,
    /// EDNS without DO: for servers whose AD bit would not be believed; answers stay small.
    Edns,
    /// EDNS with DO and AD set: the server is asked to validate and to say so.
    Secure,
}

pub(crate) const fn wire_kind(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Txt => RecordType::TXT,
        Kind::Ptr => RecordType::PTR,
        Kind::Tlsa => RecordType::TLSA,
    }
}

/// The message that asks `question` under `id` with recursion desired.
///
/// Gives an empty vector when the name can't be encoded, which a checked [`Name`](crate::Name)
/// always can; the server's failure to answer it then ends the lookup in the usual way.
pub fn encode(question: &Question, id: u16, ask: Ask) -> Vec<u8> {
    let Ok(name) = WireName::from_labels(question.name.labels().map(str::as_bytes)) else {
        return Vec::new();
    };
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, wire_kind(question.kind)));
    if ask != Ask::Bare {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD);
        if ask == Ask::Secure {
            edns.set_dnssec_ok(true);
            message.metadata.authentic_data = true;
        }
        message.set_edns(edns);
    }
    message.to_vec().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn a_question_on_the_wire() {
        let question = Question::new(Name::parse("Ab.example").unwrap(), Kind::Mx);
        let bare = encode(&question, 0x1234, Ask::Bare);
        assert_eq!(
            bare,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ab\x07example\x00\x00\x0f\x00\x01"
        );
        let edns = encode(&question, 0x1234, Ask::Edns);
        assert!(edns.ends_with(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"));
        let secure = encode(&question, 0x1234, Ask::Secure);
        assert!(secure.ends_with(b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"));
        assert_eq!(secure[3] & 0x20, 0x20, "AD asked for");
    }

    #[test]
    fn the_longest_name_is_encoded() {
        let name = format!("{}zzz", "abcdefghi.".repeat(25));
        let question = Question::new(Name::parse(&name).unwrap(), Kind::Txt);
        assert_eq!(encode(&question, 1, Ask::Bare).len(), 12 + 255 + 4);
    }

    #[test]
    fn underscores_survive() {
        let name = Name::parse("_25._tcp.a-b_c.example").unwrap();
        let wire = encode(&Question::new(name, Kind::Tlsa), 1, Ask::Bare);
        assert!(wire.windows(5).any(|part| part == b"a-b_c"));
    }
}
