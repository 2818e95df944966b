//! How it ends: the exit codes of sysexits(3), which programs that call sendmail know.

use std::process::ExitCode;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: smtpd has the message, for all recipients.
    Ok = 0,
    /// 64: wrong arguments.
    Usage = 64,
    /// 65: the message can't be sent as it is.
    Data = 65,
    /// 66: the message can't be read.
    NoInput = 66,
    /// 67: a recipient does not exist.
    NoUser = 67,
    /// 69: refused for another reason.
    Unavailable = 69,
    /// 75: not now; the same command may work later.
    TempFail = 75,
    /// 77: not allowed.
    NoPermission = 77,
    /// 78: the configuration is wrong.
    Config = 78,
}

impl Exit {
    /// For main.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why the message was not sent, for the caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One or more lines for standard error.
    pub text: String,
}

impl Failure {
    /// A failure with this text.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
        }
    }
}
