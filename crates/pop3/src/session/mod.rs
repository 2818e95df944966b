//! The states of RFC 1939: AUTHORIZATION in [`login`], TRANSACTION and UPDATE in [`transaction`].

pub mod login;
pub mod transaction;

/// Why a machine came to its end, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client said QUIT.
    Quit,
    /// More than [`crate::limits::ERRORS_MAX`] errors.
    Errors,
    /// A line longer than [`crate::limits::DISCARD_MAX`].
    EndlessLine,
    /// [`crate::limits::LOGIN_FAILURES_MAX`] refused passwords.
    LoginFailures,
    /// Octets came behind STLS before TLS had begun (CVE-2011-0411's kind of injection).
    EarlyOctets,
    /// The caller ended it: timeout, shutdown, the connection was lost.
    Stopped,
    /// The message that was being sent could not be read to its end.
    BrokenMessage,
}

impl End {
    /// One word for `reason=` in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Errors => "too-many-errors",
            Self::EndlessLine => "endless-line",
            Self::LoginFailures => "login-failures",
            Self::EarlyOctets => "octets-before-tls",
            Self::Stopped => "stopped",
            Self::BrokenMessage => "broken-message",
        }
    }
}
