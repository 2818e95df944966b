//! banwatch-regex: tries a filter on a log and shows what it would find.
//!
//! Takes what fail2ban-regex takes; with `--json` prints one object for each match.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use banwatch::date::Zone;
use banwatch::f2b::definition::FilterConf;
use banwatch::f2b::failregex::UseDns;
use banwatch::f2b::filter::{Failure, Filter};
use banwatch::f2b::ini::Section;
use banwatch::f2b::options::extract;
use banwatch::f2b::session::{CONTENT, FID, MLFID};
use banwatch::f2b::store::{Disk, Loader};
use banwatch::f2b::watch::Watch;

const USAGE: &str = "\
usage: banwatch-regex [options] LOG FILTER|REGEX [IGNOREREGEX]
       banwatch-regex --json --filter FILE [--opt NAME=VALUE]... [--now SECONDS] LOG

LOG is a file, - for standard input, or a line. FILTER is NAME, NAME[option=value],
or a path; anything else is a regular expression.

  -c, --config DIR        configuration, default /etc/fail2ban
  -d, --datepattern P     how dates are written
      --timezone Z        zone of dates that name none, such as UTC+0200
      --usedns HOW        yes, warn, no or raw (names are never looked up here)
  -L, --maxlines N        lines a pattern may span
      --now SECONDS       the present time, default the clock's
      --opt NAME=VALUE    an option of the filter
      --print-all-matched every matched line
      --print-all-missed  every line that did not match
      --print-no-missed   no line that did not match
      --json              one JSON object a match
      --strict            as the daemon does: nobody is charged with a line in which a
                          user name looks like the rest of the line
  -V, --version           the version
";

/// Lines shown of a kind unless all are asked for.
const SHOWN: usize = 20;

#[derive(Default)]
struct Args {
    json: bool,
    strict: bool,
    filter: Option<String>,
    options: Section,
    now: Option<i64>,
    config: Option<PathBuf>,
    datepattern: Option<String>,
    timezone: Option<String>,
    usedns: Option<UseDns>,
    maxlines: Option<String>,
    all_matched: bool,
    all_missed: bool,
    no_missed: bool,
    rest: Vec<String>,
}

fn parse(args: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut a = Args::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, mut inline) = match arg.split_once('=') {
            Some((n, v)) if n.starts_with("--") => (n.to_owned(), Some(v.to_owned())),
            _ => (arg.clone(), None),
        };
        let mut value = || {
            inline
                .take()
                .or_else(|| args.next())
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "-V" | "--version" => {
                println!("banwatch-regex {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            "--json" => a.json = true,
            "--strict" => a.strict = true,
            "--filter" => a.filter = Some(value()?),
            "--opt" => {
                let v = value()?;
                let (k, v) = v.split_once('=').ok_or("--opt needs NAME=VALUE")?;
                a.options.insert(k.to_owned(), v.to_owned());
            }
            "--now" => {
                a.now = Some(
                    value()?
                        .parse()
                        .map_err(|_| "--now needs seconds".to_owned())?,
                );
            }
            "-c" | "--config" => a.config = Some(value()?.into()),
            "-d" | "--datepattern" => a.datepattern = Some(value()?),
            "--timezone" | "--TZ" => a.timezone = Some(value()?),
            "--usedns" => {
                let v = value()?;
                a.usedns = Some(UseDns::parse(&v).ok_or("--usedns needs yes, warn, no or raw")?);
            }
            "-L" | "--maxlines" => a.maxlines = Some(value()?),
            "--print-all-matched" => a.all_matched = true,
            "--print-all-missed" => a.all_missed = true,
            "--print-no-missed" => a.no_missed = true,
            "-" => a.rest.push(arg),
            n if n.starts_with('-') && n.len() > 1 && a.rest.is_empty() => {
                return Err(format!("unknown option {n}"));
            }
            _ => a.rest.push(arg),
        }
    }
    Ok(Some(a))
}

/// The filter that the arguments mean.
fn conf(a: &Args, source: &str, ignore: Option<&str>) -> Result<FilterConf, String> {
    let mut own = a.options.clone();
    if let Some(n) = &a.maxlines {
        own.insert("maxlines".to_owned(), n.clone());
    }
    let base = a
        .config
        .clone()
        .unwrap_or_else(|| PathBuf::from("/etc/fail2ban"));
    let (name, inline) = extract(source).unwrap_or_else(|_| (source.to_owned(), Section::new()));
    let path = PathBuf::from(name.strip_suffix(".conf").unwrap_or(&name));
    let named = base.join("filter.d").join(&path);
    let exists = |p: &Path| {
        let mut c = p.as_os_str().to_owned();
        c.push(".conf");
        let mut l = p.as_os_str().to_owned();
        l.push(".local");
        Path::new(&c).is_file() || Path::new(&l).is_file()
    };
    let found = [path, named].into_iter().find(|p| exists(p));
    let mut conf = match found {
        Some(p) => {
            own.extend(inline);
            FilterConf::read(&mut Loader::new(&Disk), &p, &own)
                .map_err(|e| format!("{source}: {e}"))?
        }
        None if a.filter.is_some() => return Err(format!("{source}: no such filter")),
        None => {
            let mut options = own;
            options.insert("failregex".to_owned(), source.to_owned());
            FilterConf::from_options(&options).map_err(|e| e.to_string())?
        }
    };
    if let Some(d) = &a.datepattern {
        conf.datepattern = Some(d.clone());
    }
    if let Some(i) = ignore {
        conf.ignoreregex.push(i.to_owned());
    }
    Ok(conf)
}

fn open(log: &str) -> Result<Box<dyn Read>, String> {
    if log == "-" {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    match std::fs::File::open(log) {
        Ok(f) => Ok(Box::new(f)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && log.contains(' ') => {
            Ok(Box::new(std::io::Cursor::new(log.as_bytes().to_vec())))
        }
        Err(e) => Err(format!("{log}: {e}")),
    }
}

fn object(line: usize, filter: &Filter, f: &Failure) -> serde_json::Value {
    let mut o = serde_json::Map::new();
    o.insert("line".into(), line.into());
    let host = f.who.to_string();
    let host = if host.contains('\u{1f}') {
        host.split('\u{1f}').collect::<Vec<_>>().into()
    } else {
        host.into()
    };
    o.insert("host".into(), host);
    o.insert(
        "time".into(),
        f.time.map_or(serde_json::Value::Null, Into::into),
    );
    o.insert("attempts".into(), f.attempts.into());
    if !f.facts.users.is_empty() {
        let mut users = f.facts.users.clone();
        users.sort();
        o.insert("users".into(), users.into());
    }
    for (n, v) in &f.facts.values {
        if ![CONTENT, FID, MLFID].contains(n) {
            o.entry(filter.name(*n))
                .or_insert_with(|| v.as_str().into());
        }
    }
    o.into()
}

/// Does the work and ends the process, unless something is wrong.
fn run(a: &Args) -> Result<Infallible, String> {
    let (log, source, ignore) = match (&a.filter, a.rest.as_slice()) {
        (Some(f), [log]) => (log, f.as_str(), None),
        (None, [log, f]) => (log, f.as_str(), None),
        (None, [log, f, i]) => (log, f.as_str(), Some(i.as_str())),
        _ => return Err(USAGE.to_owned()),
    };
    let conf = conf(a, source, ignore)?;
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    let now = a.now.unwrap_or(clock);
    let own_dns = conf.usedns.as_deref().and_then(UseDns::parse);
    let dns = a.usedns.or(own_dns).unwrap_or_default();
    let journal = a.options.get("logtype").is_some_and(|t| t == "journal");
    let mut watch = Watch::new(Zone::system(), clock);
    watch
        .add(&conf, dns, a.timezone.as_deref(), !journal)
        .map_err(|e| e.to_string())?;
    watch.set_charge_doubtful(!a.strict);
    let time = journal.then_some(now as f64);
    let mut input = open(log)?;
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut number = 0usize;
    let mut matched = 0usize;
    let mut by_rule = vec![0usize; conf.failregex.len()];
    let (mut hits_shown, mut missed) = (Vec::new(), Vec::new());
    let mut failed_write = None;
    banwatch::lines::for_each(&mut *input, &mut |line| {
        number += 1;
        let mut found = None;
        watch.line(line, now, time, &mut |_, f| found = Some(f));
        match found {
            Some(f) => {
                matched += 1;
                if let Some(n) = by_rule.get_mut(f.regex) {
                    *n += 1;
                }
                if a.json {
                    if let Some(filter) = watch.filter(0) {
                        if let Err(e) = writeln!(out, "{}", object(number, filter, &f)) {
                            failed_write.get_or_insert(e);
                        }
                    }
                } else if a.all_matched {
                    hits_shown.push(format!("{} {}", f.who, String::from_utf8_lossy(line)));
                }
            }
            None if !a.json && !a.no_missed && (a.all_missed || missed.len() <= SHOWN) => {
                missed.push(String::from_utf8_lossy(line).into_owned());
            }
            None => {}
        }
    })
    .map_err(|e| format!("{log}: {e}"))?;
    let gave_up = watch.filter(0).map_or(0, Filter::gave_up);
    if !a.json {
        report(
            &mut out,
            &conf,
            &by_rule,
            number,
            matched,
            &hits_shown,
            &missed,
            a,
        )
        .map_err(|e| e.to_string())?;
    }
    out.flush().map_err(|e| e.to_string())?;
    if let Some(e) = failed_write {
        return Err(e.to_string());
    }
    if gave_up > 0 {
        eprintln!("banwatch-regex: {gave_up} searches given up: too many steps");
    }
    let doubtful = watch.filter(0).map_or(0, Filter::doubtful);
    if doubtful > 0 && !a.json {
        eprintln!("banwatch-regex: {doubtful} lines in which two addresses come into question");
    }
    if watch.too_long() > 0 {
        eprintln!(
            "banwatch-regex: {} lines passed over: too long",
            watch.too_long()
        );
    }
    drop(out);
    // taking thirty patterns apart again would cost more than many a log
    std::process::exit(i32::from(matched == 0 && !a.json))
}

#[allow(clippy::too_many_arguments)]
fn report(
    out: &mut dyn Write,
    conf: &FilterConf,
    by_rule: &[usize],
    lines: usize,
    matched: usize,
    hits: &[String],
    missed: &[String],
    a: &Args,
) -> std::io::Result<()> {
    writeln!(out, "Failregex: {matched} total")?;
    for (i, (n, r)) in by_rule.iter().zip(&conf.failregex).enumerate() {
        if *n > 0 {
            writeln!(out, "  {}) [{n}] {r}", i + 1)?;
        }
    }
    writeln!(
        out,
        "\nLines: {lines} lines, {matched} matched, {} missed",
        lines - matched
    )?;
    if !hits.is_empty() {
        writeln!(out, "\nMatched:")?;
        hits.iter().try_for_each(|l| writeln!(out, "  {l}"))?;
    }
    if !a.no_missed && !missed.is_empty() {
        if missed.len() > SHOWN && !a.all_missed {
            writeln!(out, "\nMissed: too many to print, use --print-all-missed")?;
        } else {
            writeln!(out, "\nMissed:")?;
            missed.iter().try_for_each(|l| writeln!(out, "  {l}"))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let done = match parse(std::env::args().skip(1)) {
        Ok(Some(a)) => run(&a),
        Ok(None) => return ExitCode::SUCCESS,
        Err(e) => Err(e),
    };
    match done {
        Ok(never) => match never {},
        Err(e) => {
            eprintln!("banwatch-regex: {e}");
            ExitCode::from(100)
        }
    }
}
