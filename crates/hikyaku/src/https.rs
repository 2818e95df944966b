//! Fetching an MTA-STS policy over HTTPS, as a sending host does (RFC 8461, 3.3).

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::tls::{ClientTls, Stream};
use sender_auth::lookup::{Answer, Question, Record};
use sender_auth::policy_answer::{
    AnswerError, FETCH_SECONDS_MAX, Fetched, PolicyAnswer, policy_host, policy_request,
};

use crate::context::Failure;
use crate::lookups::Resolver;

/// Where distributions keep the authorities that they trust; the first that is there counts.
const STORES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const PORT: u16 = 443;

/// How to reach web servers, and whom to believe.
#[derive(clap::Args)]
pub struct Https {
    /// Trust the authorities in this file (PEM) beside those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Connect there instead of to port 443 of the policy's host; its name is checked all the same.
    #[arg(long, value_name = "HOST:PORT")]
    connect_to: Option<String>,
}

/// Why there is no policy.
#[derive(Debug)]
pub enum FetchError {
    /// It is not known whether there is one: no answer, no connection.
    Unreachable(String),
    /// Senders will not take what is there.
    Refused(String),
}

impl Https {
    /// Fetches the policy of a domain. The outer failure is the setup's.
    pub fn fetch(
        &self,
        domain: &str,
        resolver: &mut Resolver,
    ) -> Result<Result<Fetched, FetchError>, Failure> {
        let end = Instant::now() + Duration::from_secs(FETCH_SECONDS_MAX);
        let tls = self.trust()?;
        let host = policy_host(domain);
        Ok(self
            .addresses(&host, resolver)
            .and_then(|addresses| connect(&addresses, end))
            .and_then(|socket| ask(socket, &tls, &host, domain)))
    }

    fn trust(&self) -> Result<ClientTls, Failure> {
        let store = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let store = store.or_else(|| {
            let mut stores = STORES.iter().map(Path::new);
            stores.find(|path| path.exists()).map(Path::to_owned)
        });
        let mut texts = Vec::new();
        // No limit: these are the admin's own, and a store is larger than what commands read else.
        for path in self.ca.iter().chain(&store) {
            texts.push(std::fs::read(path).map_err(|error| Failure::io(path.display(), &error))?);
        }
        ClientTls::proven(texts.iter().map(Vec::as_slice)).map_err(|error| {
            Failure::permanent(format!(
                "{error}: install the package ca-certificates, or give --ca"
            ))
        })
    }

    fn addresses(
        &self,
        host: &str,
        resolver: &mut Resolver,
    ) -> Result<Vec<SocketAddr>, FetchError> {
        if let Some(place) = &self.connect_to {
            let found = place.to_socket_addrs().map(Iterator::collect);
            return found.map_err(|error| FetchError::Unreachable(format!("{place}: {error}")));
        }
        let (mut found, mut unknown) = (Vec::new(), false);
        for question in [
            Question::Aaaa(host.to_owned()),
            Question::A(host.to_owned()),
        ] {
            match resolver.ask(&question) {
                Answer::TempFail => unknown = true,
                Answer::NoData | Answer::NxDomain => {}
                Answer::Records(records) => {
                    found.extend(records.iter().filter_map(|record| match record {
                        Record::A(ip) => Some(SocketAddr::new(IpAddr::V4(*ip), PORT)),
                        Record::Aaaa(ip) => Some(SocketAddr::new(IpAddr::V6(*ip), PORT)),
                        _ => None,
                    }));
                }
            }
        }
        match (found.is_empty(), unknown) {
            (false, _) => Ok(found),
            (true, true) => Err(FetchError::Unreachable(format!(
                "no answer for the addresses of {host}"
            ))),
            (true, false) => Err(FetchError::Refused(format!("{host} has no address"))),
        }
    }
}

/// A socket whose operations all end by one moment.
struct Timed {
    socket: TcpStream,
    end: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(too_late()),
            false => Ok(Some(left)),
        }
    }
}

fn too_late() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("not done in {FETCH_SECONDS_MAX} seconds"),
    )
}

/// A timeout of the system means that the one moment has come.
fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => too_late(),
        _ => error,
    })
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        in_time(self.socket.read(buffer))
    }
}

impl io::Write for Timed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        in_time(self.socket.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first address that answers; each gets an even share of the time that is left.
fn connect(addresses: &[SocketAddr], end: Instant) -> Result<Timed, FetchError> {
    let mut last = "no address".to_owned();
    for (number, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let shares = u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
        // Half is kept for what follows.
        let share = left / shares.max(1) / 2;
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(Timed { socket, end }),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(FetchError::Unreachable(last))
}

fn ask(socket: Timed, tls: &ClientTls, host: &str, domain: &str) -> Result<Fetched, FetchError> {
    let mut stream = Stream::clear(socket);
    let sent = stream
        .start_client(tls, host)
        .and_then(|()| send(&mut stream, policy_request(domain).as_bytes()));
    sent.map_err(io_error)?;
    let mut answer = PolicyAnswer::new();
    let mut block = [0; 16_384];
    loop {
        let count = stream.read(&mut block).map_err(io_error)?;
        let (whole, cut) = match block.get(..count).filter(|block| !block.is_empty()) {
            Some(block) => (answer.feed(block).map_err(answer_error)?, false),
            // A body that only the connection's end makes whole needs one that the server has
            // told of (RFC 9112, 9.8).
            None => (true, !stream.ended_properly()),
        };
        if whole {
            stream.close();
            return match cut {
                true => Err(answer_error(AnswerError::Cut)),
                false => answer.end().map_err(answer_error),
            };
        }
    }
}

/// Writes all of it. The handshake goes on in between: what is written before its end waits inside.
fn send(stream: &mut Stream<Timed>, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let taken = stream.write(data)?;
        data = data.get(taken..).unwrap_or_default();
    }
    stream.flush()
}

fn io_error(error: io::Error) -> FetchError {
    // The TLS library tells what is wrong with a certificate in this kind alone.
    match error.kind() {
        io::ErrorKind::InvalidData => FetchError::Refused(format!("TLS: {error}")),
        _ => FetchError::Unreachable(error.to_string()),
    }
}

fn answer_error(error: AnswerError) -> FetchError {
    match error {
        AnswerError::Cut => FetchError::Unreachable(error.to_string()),
        _ => FetchError::Refused(error.to_string()),
    }
}
