//! The answer to CAPA (RFC 2449).

/// Which capabilities hold at the moment of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// USER and PASS would be accepted on this connection now, or were.
    pub user: bool,
    /// STLS would be accepted now (RFC 2595, 4: only before login and before TLS).
    pub stls: bool,
}

/// Appends the whole multi-line answer to `out`.
///
/// UIDL and TOP are there because we implement them; EXPIRE NEVER: the server deletes nothing
/// by itself (RFC 2449, 6.7); AUTH-RESP-CODE (RFC 3206): a refused password is told from
/// trouble on our side.
pub fn write(capabilities: Capabilities, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK capabilities follow\r\nTOP\r\nUIDL\r\n");
    if capabilities.user {
        out.extend_from_slice(b"USER\r\n");
    }
    if capabilities.stls {
        out.extend_from_slice(b"STLS\r\n");
    }
    out.extend_from_slice(
        b"RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nIMPLEMENTATION hikyaku\r\n.\r\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (user, stls) in [(false, true), (true, false), (false, false), (true, true)] {
            let mut out = Vec::new();
            write(Capabilities { user, stls }, &mut out);
            let text = String::from_utf8(out).unwrap();
            let lines: Vec<&str> = text.split("\r\n").collect();
            assert!(lines[0].starts_with("+OK"));
            assert_eq!(&lines[lines.len() - 2..], [".", ""]);
            assert_eq!(lines.contains(&"USER"), user);
            assert_eq!(lines.contains(&"STLS"), stls);
            for always in [
                "TOP",
                "UIDL",
                "RESP-CODES",
                "AUTH-RESP-CODE",
                "PIPELINING",
                "EXPIRE NEVER",
            ] {
                assert!(lines.contains(&always), "{always}");
            }
        }
    }
}
