//! Prints the jails of a fail2ban configuration as they are understood, as JSON.
//!
//! usage: f2b-jails [DIR]

use std::path::PathBuf;

use banwatch::f2b::jail_conf::read_jails;
use banwatch::f2b::store::{Disk, Loader};

fn main() {
    let dir: PathBuf = std::env::args_os()
        .nth(1)
        .map_or("/etc/fail2ban".into(), Into::into);
    let mut loader = Loader::new(&Disk);
    let jails = match read_jails(&mut loader, &dir) {
        Ok(j) => j,
        Err(e) => {
            eprintln!("f2b-jails: {e}");
            std::process::exit(100);
        }
    };
    for (name, jail) in jails {
        let line = match jail {
            Err(e) => serde_json::json!({ "jail": name, "error": e.to_string() }),
            Ok(j) => {
                let mut commands = serde_json::Map::new();
                for a in &j.actions {
                    let c = match a.commands(&mut loader, &dir, &j, "inet6") {
                        Ok(c) => serde_json::json!(c),
                        Err(e) => serde_json::json!({ "error": e.to_string() }),
                    };
                    commands.insert(a.label.clone(), c);
                }
                serde_json::json!({
                    "jail": name, "filter": j.filter_name, "failregex": j.filter.failregex,
                    "ignoreregex": j.filter.ignoreregex, "prefregex": j.filter.prefregex,
                    "maxlines": j.filter.maxlines, "datepattern": j.filter.datepattern,
                    "journalmatch": j.filter.journalmatch, "maxretry": j.rules.maxretry,
                    "findtime": j.rules.findtime, "bantime": j.rules.bantime,
                    "backend": j.backend, "ports": j.ports,
                    "logs": j.logs.iter().map(|l| l.glob.as_str()).collect::<Vec<_>>(),
                    "actions": commands,
                })
            }
        };
        println!("{line}");
    }
}
