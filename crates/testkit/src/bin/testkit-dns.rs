//! testkit-dns: the mini name server as a program.
//!
//! `testkit-dns ADDRESS:PORT ZONE-FILE` serves the table (see `testkit::Zone`) until its standard
//! input ends, so that it never outlives who started it. The address it listens on is printed on
//! one line first; port 0 takes a free one.

use std::io::{Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        eprintln!("usage: testkit-dns ADDRESS:PORT ZONE-FILE");
        return ExitCode::from(100);
    };
    let address = match address.parse() {
        Ok(address) => address,
        Err(error) => {
            eprintln!("testkit-dns: {address}: {error}");
            return ExitCode::from(100);
        }
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("testkit-dns: {file}: {error}");
            return ExitCode::from(100);
        }
    };
    let dns = match testkit::Dns::start_at(address, testkit::Zone::parse(&text)) {
        Ok(dns) => dns,
        Err(error) => {
            eprintln!("testkit-dns: {address}: {error}");
            return ExitCode::from(111);
        }
    };
    println!("{}", dns.address);
    let _ = std::io::stdout().flush();
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    ExitCode::SUCCESS
}
