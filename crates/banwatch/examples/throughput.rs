//! Runs filters over a log, each line once for all of them, and says how fast that went.
//!
//! usage: throughput CONFIG-DIR LOG FILTER[OPTIONS]...

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use banwatch::date::Zone;
use banwatch::f2b::definition::FilterConf;
use banwatch::f2b::failregex::UseDns;
use banwatch::f2b::options::extract;
use banwatch::f2b::store::{Disk, Loader};
use banwatch::f2b::watch::Watch;

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, log, filters @ ..] = args.as_slice() else {
        return Err("usage: throughput CONFIG-DIR LOG FILTER[OPTIONS]...".to_owned());
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    let mut watch = Watch::new(Zone::system(), now);
    let mut loader = Loader::new(&Disk);
    for f in filters {
        let (name, own) = extract(f).map_err(|e| e.to_string())?;
        let path = Path::new(dir).join("filter.d").join(name);
        let conf = FilterConf::read(&mut loader, &path, &own).map_err(|e| e.to_string())?;
        watch
            .add(&conf, UseDns::Warn, None, true)
            .map_err(|e| e.to_string())?;
    }
    let mut input = std::fs::File::open(log).map_err(|e| e.to_string())?;
    let mut found = vec![0u64; filters.len()];
    let mut lines = 0u64;
    let start = Instant::now();
    banwatch::lines::for_each(&mut input, &mut |line| {
        lines += 1;
        watch.line(line, now, None, &mut |i, _| {
            if let Some(n) = found.get_mut(i) {
                *n += 1;
            }
        });
    })
    .map_err(|e| e.to_string())?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{lines} lines, {:.0} lines a second of wall time",
        lines as f64 / seconds
    );
    for (f, n) in filters.iter().zip(found) {
        println!("  {f}: {n}");
    }
    Ok(())
}

fn main() {
    if let Err(e) = run() {
        eprintln!("throughput: {e}");
        std::process::exit(100);
    }
}
