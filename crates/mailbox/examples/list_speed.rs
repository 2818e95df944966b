//! How long it takes to list a Maildir: `list_speed DIRECTORY COUNT`.
//!
//! Fills DIRECTORY/Maildir (which must not exist) with COUNT small messages, lists it with sizes in
//! the names and without, and prints the times.

use std::path::Path;
use std::time::Instant;

use mailbox::{Listing, Maildir};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("usage: list_speed DIRECTORY COUNT")?;
    let count: u32 = arguments
        .next()
        .ok_or("usage: list_speed DIRECTORY COUNT")?
        .parse()?;
    let path = Path::new(&directory).join("Maildir");
    let maildir = Maildir::open_or_create(&path)?;
    let text = "Subject: x\n\n".to_owned() + &"0123456789".repeat(200) + "\n";
    for sized in [true, false] {
        let suffix = if sized {
            format!(",S={},W={}", text.len(), text.len() + 3)
        } else {
            String::new()
        };
        for number in 0..count {
            let name = format!(
                "{}.M{number}P1.host.example.org{suffix}:2,S",
                1_700_000_000 + number
            );
            std::fs::write(path.join("cur").join(name), &text)?;
        }
        for round in ["first", "again"] {
            let start = Instant::now();
            let listing = Listing::read(&maildir)?;
            let octets: u64 = (0..listing.len()).map(|at| listing.size(at)).sum();
            println!(
                "{} messages, sizes in names: {sized}, {round}: {:?} ({octets} octets)",
                listing.len(),
                start.elapsed()
            );
        }
        for entry in std::fs::read_dir(path.join("cur"))? {
            std::fs::remove_file(entry?.path())?;
        }
    }
    Ok(())
}
