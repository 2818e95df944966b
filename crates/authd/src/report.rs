//! What authd tells of each question: one log line, and an event for banwatch.

use auth::protocol::{Answer, Request, Service};
use daemon::log;
use events::{Account, Event, Kind, Reporter, Secret};

/// What is kept of a question while its password is checked; the password is not.
#[derive(Clone, Debug)]
pub struct Facts {
    pub service: Service,
    pub client: Option<std::net::IpAddr>,
    pub sid: Box<str>,
    pub login: Box<str>,
    /// Tells banwatch a repeated mistake from guessing.
    secret: Secret,
}

impl Facts {
    /// `key` is drawn at random when authd starts and never leaves it.
    pub fn of(request: &Request, key: u64) -> Self {
        Self {
            secret: Secret::of(key, request.password.expose()),
            service: request.service,
            client: request.client,
            sid: request.sid.as_str().into(),
            login: request.login.as_str().into(),
        }
    }
}

/// Says how a question ended.
pub fn answered(facts: &Facts, answer: &Answer) {
    let line = match answer {
        Answer::User(user) => log::info("auth-ok").kv("user", &**user),
        Answer::No(_) => log::info("auth-fail"),
        Answer::NotNow(trouble) => {
            log::warning("auth-later").kv("reason", format!("{trouble:?}").to_lowercase())
        }
    };
    line.kv("service", facts.service.as_str())
        .kv("login", &*facts.login)
        .opt("client", facts.client.map(|ip| ip.to_string()))
        .kv("sid", &*facts.sid)
        .send();
}

/// Tells banwatch how a password was. At once: a refusal's answer is held back, its event is not.
pub fn event(facts: &Facts, good: bool, events: &mut Reporter) {
    let Some(address) = facts.client else { return };
    events.report(&Event {
        service: match facts.service {
            Service::Smtp => events::Service::Submission,
            Service::Pop3 => events::Service::Pop3,
        },
        kind: if good { Kind::AuthOk } else { Kind::AuthFail },
        address,
        // The daemons know the port, authd does not.
        port: 0,
        account: Some(Account::of(&facts.login)),
        secret: (!good).then_some(facts.secret),
        session: session(&facts.sid),
        count: 1,
    });
}

/// A number that joins the events of one session: FNV-1a of its id.
fn session(sid: &str) -> u32 {
    sid.bytes().fold(0x811c_9dc5, |h: u32, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}
