//! What authd tells of each question: one log line. Events for banwatch go out from here too.

use auth::protocol::{Answer, Request, Service};
use daemon::log;

/// What is kept of a question while its password is checked; the password is not.
#[derive(Clone, Debug)]
pub struct Facts {
    pub service: Service,
    pub client: Option<std::net::IpAddr>,
    pub sid: Box<str>,
    pub login: Box<str>,
}

impl Facts {
    pub fn of(request: &Request) -> Self {
        Self {
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
        .opt("ip", facts.client.map(|ip| ip.to_string()))
        .kv("sid", &*facts.sid)
        .send();
}
