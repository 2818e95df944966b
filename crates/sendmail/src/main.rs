//! sendmail: hands a message from a program or a user to smtpd over its Unix socket.
//!
//! Holds no privilege and is not set-id: smtpd asks the kernel who is at the other end of the
//! socket. The message is not kept in memory but for its header.
//!
//! Manual: sendmail(1). Design: docs/smtpd.md, "sendmail".
#![forbid(unsafe_code)]

mod arguments;
mod exit;
mod header;
mod input;
mod pass;
mod person;
mod submit;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use config::Config;

use arguments::{Arguments, Mode};
use exit::{Exit, Failure};
use header::Header;
use input::Input;
use person::Person;

fn main() -> ExitCode {
    match run() {
        Ok(()) => Exit::Ok.code(),
        Err(failure) => {
            eprintln!("sendmail: {}", failure.text);
            failure.exit.code()
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args_os().skip(1))?;
    let config = configuration(arguments.config.as_ref())?;
    let path = config.paths.submit_socket();
    let connect = || {
        UnixStream::connect(&path).map_err(|e| {
            Failure::new(
                Exit::TempFail,
                format!("no mail system answers at {}: {e}", path.display()),
            )
        })
    };
    match arguments.mode {
        Mode::Dialogue => pass::dialogue(connect()?),
        Mode::Deliver => deliver(&arguments, &config, connect),
    }
}

fn deliver(
    arguments: &Arguments,
    config: &Config,
    connect: impl FnOnce() -> Result<UnixStream, Failure>,
) -> Result<(), Failure> {
    let person = Person::own(&config.hostname, arguments.full_name.as_deref())?;
    let from = person.sender(arguments.sender.as_deref())?;
    let mut input = Input::new(io::stdin().lock(), !arguments.ignore_dots);
    let mut header = Header::read(&mut input)?;
    let mut recipients = person.recipients(&arguments.recipients)?;
    if arguments.from_header {
        recipients.extend(person.header_recipients(&header)?);
    }
    header.remove_bcc();
    if !header.has("from") {
        header.push(person.author_field(&from));
    }
    let mut seen = std::collections::HashSet::new();
    recipients.retain(|r| seen.insert(r.clone()));
    if recipients.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "no recipients: name them or use -t",
        ));
    }
    let content = header.into_octets().chain(input);
    submit::submit(connect()?, from, recipients, content)
}

/// The configuration that -C names, or the environment, or the usual one.
fn configuration(named: Option<&PathBuf>) -> Result<Config, Failure> {
    let file = match named {
        Some(file) => file.clone(),
        None => std::env::var_os("HIKYAKU_CONFIG")
            .map_or_else(|| PathBuf::from(config::FILE), PathBuf::from),
    };
    Config::load(&file).map_err(|e| Failure::new(Exit::Config, e.to_string()))
}
