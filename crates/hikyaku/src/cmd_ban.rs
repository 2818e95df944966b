//! `hikyaku ban`: asks banwatch over its socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use crate::context::{Context, Failure};

/// Options of `hikyaku ban`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the bans that stand.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ban an address or a network.
    Add {
        /// An address, or a network such as 192.0.2.0/24.
        network: String,
        /// For how long: 10m, 2h, 1d; `-` without end.
        #[arg(default_value = "1h", allow_hyphen_values = true)]
        time: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lift the bans of an address or a network.
    Del {
        /// As it was banned.
        network: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell why an address is banned, or what is known of it.
    Why {
        /// An address or a network.
        address: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show numbers.
    Stats {
        /// As JSON.
        #[arg(long, conflicts_with = "prometheus")]
        json: bool,
        /// As Prometheus reads them.
        #[arg(long)]
        prometheus: bool,
    },
}

/// The question as banwatch reads it.
fn question(what: &What) -> String {
    let form = |json: bool| if json { " json" } else { "" };
    match what {
        What::List { json } => format!("list{}", form(*json)),
        What::Add { network, time, .. } => format!("add {network} {time}"),
        What::Del { network, .. } => format!("del {network}"),
        What::Why { address, json } => format!("why {address}{}", form(*json)),
        What::Stats {
            prometheus: true, ..
        } => "metrics".to_owned(),
        What::Stats { json, .. } => format!("stats{}", form(*json)),
    }
}

/// Asks and prints the answer.
pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let path = context.config_for_bans()?.paths.run.join("ban");
    let mut socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            let text = format!("{}: banwatch is not running", path.display());
            return Err(Failure::Temporary(text));
        }
        Err(e) => return Err(Failure::io(path.display(), &e)),
    };
    let question = question(&args.what);
    if question.contains(['\n', '\r']) {
        return Err(Failure::permanent("an argument has a line end in it"));
    }
    let mut answer = String::new();
    socket
        .write_all(format!("{question}\n").as_bytes())
        .and_then(|()| socket.read_to_string(&mut answer))
        .map_err(|e| Failure::io(path.display(), &e))?;
    match answer.strip_prefix("+\n") {
        // How many bans were made or lifted.
        Some(text) if matches!(args.what, What::Add { .. } | What::Del { .. }) => {
            let changed = text.trim() != "0";
            let (network, json, word) = match &args.what {
                What::Add { network, json, .. } if changed => (network, *json, "banned"),
                What::Add { network, json, .. } => {
                    (network, *json, "is banned at least that long already")
                }
                What::Del { network, json } => (network, *json, "lifted"),
                _ => return Ok(ExitCode::SUCCESS),
            };
            if json {
                let said = json!({ "network": network, "state": word, "changed": changed });
                writeln!(context.out, "{said}")?;
            } else {
                writeln!(context.out, "{network}: {word}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(text) => {
            context.out.write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        None if answer.is_empty() => Err(Failure::Temporary("banwatch gave no answer".to_owned())),
        None => Err(Failure::permanent(
            answer.trim_start_matches("- ").trim_end(),
        )),
    }
}
