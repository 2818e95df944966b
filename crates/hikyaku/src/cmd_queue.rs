//! `hikyaku queue`: what waits, since when, and why.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use config::types::{Size, show_duration};
use daemon::clock::unix_seconds;
use daemon::dir::Dir;
use queue::format::FormatError;
use queue::format::outcome::Outcome;
use queue::format::state::State;
use queue::store::{Message, ReadError};
use queue::{Place, QueueId, View};
use serde_json::json;

use crate::context::{Context, Failure, printable};

/// Options of `hikyaku queue`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show all messages, the oldest first.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

const PLACES: [Place; 4] = [
    Place::Incoming,
    Place::Deferred,
    Place::Hold,
    Place::Corrupt,
];

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let config = context.config()?;
    let path = &config.paths.queue;
    let root = Dir::open(path).map_err(|error| Failure::io(path.display(), &error))?;
    let view = View::new(root);
    let What::List { json } = args.what;
    let mut found: Vec<(QueueId, Place)> = Vec::new();
    for place in PLACES {
        view.scan(place, &mut |id| found.push((id, place)))
            .map_err(|error| Failure::io(path.join(place.name()).display(), &error))?;
    }
    // Ids sort by time. One that was moved while we looked stands here twice, and is shown once.
    found.sort_by_key(|(id, _)| *id.as_bytes());
    let mut shown = None;
    let now = unix_seconds();
    let (mut count, mut octets) = (0u64, 0u64);
    for (id, place) in found {
        if shown == Some(id) {
            continue;
        }
        let row = match view.read(id, place) {
            // Delivered meanwhile, or moved to where it stands next in the list.
            Err(ReadError::Missing) => continue,
            // Still being written.
            Err(ReadError::Format(FormatError::Unsealed)) if place == Place::Incoming => continue,
            Err(error) => Row::broken(id, place, error.to_string()),
            Ok(message) => {
                let outcomes = view.outcomes(&message).unwrap_or_default();
                Row::new(id, place, &message, &outcomes)
            }
        };
        shown = Some(id);
        count += 1;
        octets += row.size;
        match json {
            true => writeln!(context.out, "{}", row.json(now))?,
            false => row.table(now, &mut context.out)?,
        }
    }
    if !json {
        match count {
            0 => writeln!(context.out, "the queue is empty")?,
            _ => writeln!(context.out, "{count} in the queue, {}", show_size(octets))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A message as it is shown.
struct Row {
    id: QueueId,
    place: Place,
    /// Seconds since 1970.
    arrival: i64,
    size: u64,
    sender: String,
    due: i64,
    attempts: u32,
    recipients: Vec<Recipient>,
    /// Why the file could not be read.
    broken: Option<String>,
}

struct Recipient {
    address: String,
    state: State,
    last: Option<Last>,
}

struct Last {
    time: i64,
    status: String,
    host: String,
    text: String,
}

impl Row {
    fn new<F>(id: QueueId, place: Place, message: &Message<F>, outcomes: &[Outcome]) -> Self {
        let recipients = message
            .envelope
            .recipients
            .iter()
            .zip(&message.states)
            .zip(0u32..);
        let recipients = recipients.map(|((recipient, state), index)| {
            let last = outcomes
                .iter()
                .rfind(|outcome| outcome.recipients.contains(&index));
            Recipient {
                address: recipient.address.clone(),
                state: *state,
                last: last.map(|outcome| Last {
                    time: outcome.time,
                    status: outcome.status.to_string(),
                    host: outcome.host.clone(),
                    text: outcome.text.clone(),
                }),
            }
        });
        Self {
            id,
            place,
            arrival: message.header.arrival,
            size: message.header.content_len,
            sender: message.envelope.reverse_path.clone(),
            due: message.retry.due,
            attempts: message.retry.attempts,
            recipients: recipients.collect(),
            broken: None,
        }
    }

    fn broken(id: QueueId, place: Place, why: String) -> Self {
        Self {
            id,
            place,
            arrival: i64::try_from(id.millis() / 1_000).unwrap_or(0),
            size: 0,
            sender: String::new(),
            due: 0,
            attempts: 0,
            recipients: Vec::new(),
            broken: Some(why),
        }
    }

    fn json(&self, now: i64) -> serde_json::Value {
        let recipients = self.recipients.iter().map(|recipient| {
            let last = recipient.last.as_ref().map(|last| {
                json!({ "time": last.time, "status": last.status, "host": last.host, "text": last.text })
            });
            json!({ "address": recipient.address, "state": state_name(recipient.state), "last": last })
        });
        json!({
            "id": self.id.as_str(),
            "place": self.place.name(),
            "arrival": self.arrival,
            "age_s": now.saturating_sub(self.arrival).max(0),
            "size_bytes": self.size,
            "sender": self.sender,
            "attempts": self.attempts,
            "next_try": (self.place == Place::Deferred).then_some(self.due),
            "recipients": recipients.collect::<Vec<_>>(),
            "error": self.broken,
        })
    }

    fn table(&self, now: i64, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let (id, place) = (self.id.as_str(), self.place.name());
        let (age, size) = (show_seconds(now - self.arrival), show_size(self.size));
        if let Some(why) = &self.broken {
            return writeln!(
                out,
                "{id} {place:<8} {age:>7} {:>8} {}",
                "?",
                printable(why)
            );
        }
        write!(
            out,
            "{id} {place:<8} {age:>7} {size:>8} <{}>",
            printable(&self.sender)
        )?;
        match self.place {
            Place::Deferred if self.due > now => {
                write!(
                    out,
                    " next in {} (tried {})",
                    show_seconds(self.due - now),
                    self.attempts
                )?;
            }
            Place::Deferred => write!(out, " due (tried {})", self.attempts)?,
            _ => {}
        }
        writeln!(out)?;
        for recipient in &self.recipients {
            write!(
                out,
                "    {:<9} <{}>",
                state_name(recipient.state),
                printable(&recipient.address)
            )?;
            if let (State::Waiting, Some(last)) = (recipient.state, &recipient.last) {
                let ago = show_seconds(now - last.time);
                let (host, text) = (printable(&last.host), printable(&last.text));
                let host = if host.is_empty() {
                    host
                } else {
                    format!(" {host}:")
                };
                write!(out, " {ago} ago:{host} {} {text}", last.status)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Delivered => "delivered",
        State::Failed => "failed",
        State::Removed => "removed",
    }
}

/// The two largest units of a time; a clock that was set back counts as zero.
fn show_seconds(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let rounded = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    show_duration(Duration::from_secs(rounded))
}

/// A size in the largest unit that leaves at least one, with one digit behind the point.
fn show_size(octets: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        if octets >> shift != 0 {
            let tenths = (u128::from(octets) * 10) >> shift;
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    Size(octets).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::Status;

    #[test]
    fn short_forms() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (3_599, "59m59s"),
            (3_661, "1h1m"),
            (90_061, "1d1h"),
        ] {
            assert_eq!(show_seconds(seconds), text);
        }
        for (octets, text) in [
            (0, "0"),
            (1_023, "1023"),
            (1_024, "1.0K"),
            (1_536, "1.5K"),
            (u64::MAX, "17179869183.9G"),
        ] {
            assert_eq!(show_size(octets), text);
        }
    }

    fn row() -> Row {
        let address = |text: &str, state| (queue::Recipient::new(text), state);
        let (recipients, states) = [
            address("bo@example.net", State::Waiting),
            address("cy@example.net", State::Delivered),
        ]
        .into_iter()
        .unzip();
        let message = Message {
            file: (),
            header: queue::format::header::Header {
                eight_bit: false,
                utf8: false,
                envelope_len: 0,
                recipients: 2,
                content_len: 4_200,
                content_crc: 0,
                arrival: 1_000_000,
            },
            envelope: queue::Envelope {
                reverse_path: "al@example.org".into(),
                recipients,
                ..Default::default()
            },
            states,
            retry: queue::format::state::Retry {
                due: 1_004_300,
                attempts: 2,
                ..Default::default()
            },
        };
        let outcome = |time, text: &str| Outcome {
            time,
            status: Status::DEFERRED,
            host: "mx.example.net".into(),
            text: text.into(),
            recipients: vec![0],
        };
        let outcomes = [
            outcome(1_000_010, "first"),
            outcome(1_000_300, "451 try \x1b later"),
        ];
        Row::new(
            QueueId::new(1_000_000_000, 7),
            Place::Deferred,
            &message,
            &outcomes,
        )
    }

    #[test]
    fn a_table() {
        let mut out = Vec::new();
        row().table(1_004_000, &mut out).unwrap();
        let id = QueueId::new(1_000_000_000, 7);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "{id} deferred    1h6m     4.1K <al@example.org> next in 5m (tried 2)\n    \
                 waiting   <bo@example.net> 1h1m ago: mx.example.net: 4.0.0 451 try \\u{{1b}} later\n    \
                 delivered <cy@example.net>\n",
                id = id.as_str()
            )
        );
    }

    #[test]
    fn a_json_line() {
        let value = row().json(1_004_000);
        assert_eq!(value["age_s"], 4_000);
        assert_eq!(value["next_try"], 1_004_300);
        assert_eq!(value["recipients"][0]["last"]["status"], "4.0.0");
        assert_eq!(value["recipients"][1]["state"], "delivered");
        assert!(!value.to_string().contains('\n'));
    }
}
