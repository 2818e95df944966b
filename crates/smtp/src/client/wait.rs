//! How long to wait for what (RFC 5321, 4.5.3.2).

use std::time::Duration;

/// What a client waits for. Each has the least time that the standard asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The greeting, 220.
    Greeting,
    /// The reply to EHLO, HELO or STARTTLS.
    Hello,
    /// The TLS handshake.
    Handshake,
    /// The reply to MAIL or RSET.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The reply to DATA.
    DataStart,
    /// The connection takes a block of content.
    DataBlock,
    /// The reply to the final dot.
    DataEnd,
    /// The reply to QUIT.
    Quit,
}

impl Wait {
    /// The time without any progress after which to give up.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Greeting | Self::Hello | Self::Mail | Self::Rcpt => 300,
            // Not in the standard.
            Self::Handshake => 60,
            Self::DataStart => 120,
            Self::DataBlock => 180,
            Self::DataEnd => 600,
            // Nothing depends on it: every outcome is known.
            Self::Quit => 5,
        })
    }

    /// How reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Hello => "reply to EHLO",
            Self::Handshake => "TLS handshake",
            Self::Mail => "reply to MAIL",
            Self::Rcpt => "reply to RCPT",
            Self::DataStart => "reply to DATA",
            Self::DataBlock => "message text being taken",
            Self::DataEnd => "reply to the end of the message",
            Self::Quit => "reply to QUIT",
        }
    }
}
