//! `hikyaku dmarc`: a message against the author's policy, and the reports of others.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use message::address::AddressList;
use sender_auth::authres::{AuthResults, dkim_results, dmarc_result, spf_result};
use sender_auth::dkim::{Limits, Verification, Verified, Verifier};
use sender_auth::dmarc::{
    Disposition, Dmarc, DmarcRequest, DmarcResult, DmarcVerdict, Method, SuffixList, author_domain,
};
use sender_auth::header_block::HeaderBlock;
use sender_auth::spf::{Spf, SpfVerdict};

use crate::context::{Context, Failure, printable};
use crate::lookups::Dns;
use crate::wire::Source;
use crate::{cmd_dmarc_report, cmd_spf};

/// Largest public suffix list in octets.
const SUFFIXES_MAX: u64 = 16 << 20;

/// Options of `hikyaku dmarc`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Check a message as if it came from this address. First word: pass, fail, none, temperror
    /// or permerror.
    Check(CheckArgs),
    /// Sum up aggregate reports (XML, gzip, zip or the mails they came in), show failure reports.
    Report(cmd_dmarc_report::Args),
}

#[derive(clap::Args)]
struct CheckArgs {
    #[command(flatten)]
    client: cmd_spf::Client,
    #[command(flatten)]
    dns: Dns,
    /// Find organizational domains with this public suffix list instead of walking up the tree.
    #[arg(long, value_name = "FILE")]
    suffixes: Option<PathBuf>,
    /// Print the Authentication-Results field of this host name as well.
    #[arg(long, value_name = "NAME")]
    authserv_id: Option<String>,
    /// Judge dates as if it were this second since 1970.
    #[arg(long, value_name = "SECONDS")]
    now: Option<i64>,
    #[command(flatten)]
    source: Source,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Check(args) => check(args, context),
        What::Report(args) => cmd_dmarc_report::run(args, context),
    }
}

/// Reads a public suffix list.
fn suffixes(path: &Path) -> Result<Method, Failure> {
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SUFFIXES_MAX).read_to_end(&mut text))
        .map_err(|error| Failure::io(path.display(), &error))?;
    let list = SuffixList::parse(&text);
    if list.is_empty() {
        return Err(Failure::permanent(format!(
            "{}: no rules in it",
            path.display()
        )));
    }
    Ok(Method::Suffixes(Arc::new(list)))
}

fn check(args: &CheckArgs, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut resolver = args.dns.resolver()?;
    let method = match &args.suffixes {
        Some(path) => suffixes(path)?,
        None => Method::TreeWalk,
    };
    let mut verifier = Verifier::new(Verification::new(Limits::default()));
    args.source.for_each(|block| verifier.feed(block))?;
    verifier.end(args.now.unwrap_or_else(|| Timestamp::now().as_second()));
    let author = verifier.header().map(author).unwrap_or_default();
    let return_path = verifier.header().map(return_path).unwrap_or_default();
    let dkim = resolver.run(&mut verifier).unwrap_or_default();
    let request = args.client.request(&return_path);
    let spf = cmd_spf::checked(Spf::mail_from(&request), &mut resolver)?;

    let domains: Vec<&str> = author.domains.iter().map(String::as_str).collect();
    let found = match author_domain(author.fields, domains) {
        Err(problem) => {
            writeln!(context.out, "permerror {problem}")?;
            None
        }
        Ok(domain) => {
            // A message is always in the sample: this says what the policy asks for.
            let request = DmarcRequest::new(domain, Some(&spf), &dkim, 0);
            let mut check = Dmarc::new(request, method);
            let found = resolver
                .run(&mut check)
                .ok_or_else(|| Failure::permanent("the check did not end"))?;
            writeln!(context.out, "{}", line(&found))?;
            Some(found)
        }
    };
    writeln!(context.out, "  spf {}", cmd_spf::line(&spf))?;
    for signature in &dkim.signatures {
        let domain = signature.domain().unwrap_or("-");
        writeln!(context.out, "  dkim {} {domain}", signature.result())?;
    }
    if let Some(id) = &args.authserv_id {
        let field = field(id, found.as_ref(), &spf, &dkim);
        write!(context.out, "{}", field.replace("\r\n", "\n"))?;
    }
    let result = found.map(|found| found.result);
    Ok(resolver.exit(result == Some(DmarcResult::TempError)))
}

fn field(id: &str, found: Option<&DmarcVerdict>, spf: &SpfVerdict, dkim: &Verified) -> String {
    let mut results = vec![spf_result(spf)];
    results.extend(dkim_results(dkim));
    results.extend(found.map(dmarc_result));
    AuthResults {
        authserv_id: id.to_owned(),
        results,
    }
    .to_field()
}

fn line(found: &DmarcVerdict) -> String {
    let mut line = format!("{} from {}", found.result, found.author);
    if let Some(policy) = &found.found {
        line += &format!(" policy {} at {}", policy.record.policy, policy.domain);
    }
    match found.disposition {
        Disposition::Asked(policy) => line += &format!(" disposition {policy}"),
        Disposition::Sampled(asked, policy) => {
            line += &format!(" disposition {policy} (not in the sample for {asked})");
        }
        Disposition::Testing(asked, policy) => {
            line += &format!(" disposition {policy} (testing {asked})");
        }
    }
    if let Some(domain) = &found.spf_aligned {
        line += &format!(" spf {domain}");
    }
    for domain in &found.dkim_aligned {
        line += &format!(" dkim {domain}");
    }
    if let Some(reason) = &found.reason {
        line += &format!(": {}", printable(reason));
    }
    line
}

/// What the From fields hold.
#[derive(Default)]
struct Author {
    fields: usize,
    domains: Vec<String>,
}

fn author(header: &HeaderBlock) -> Author {
    let numbers = header.named(b"from");
    let mut domains = Vec::new();
    if let [number] = numbers
        && let Some(field) = header.field(*number as usize)
    {
        let list = AddressList::read(field.value, None);
        let ascii =
            |mailbox: &message::address::Mailbox| mailbox.address.domain.to_ascii().into_owned();
        domains.extend(list.mailboxes().map(ascii));
    }
    Author {
        fields: numbers.len(),
        domains,
    }
}

fn return_path(header: &HeaderBlock) -> String {
    let value = header
        .named(b"return-path")
        .last()
        .and_then(|number| header.field(*number as usize))
        .map(|field| String::from_utf8_lossy(field.value).into_owned());
    value.unwrap_or_default()
}
