//! rustls on a non-blocking socket.
//!
//! The provider (aws-lc-rs) is named in this module only. The private key is reached through rustls'
//! `SigningKey`, which is the seam behind which a process of its own may sign one day.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection,
    SignatureScheme,
};

fn provider() -> Arc<CryptoProvider> {
    let provider = aws_lc_rs::default_provider();
    // The library sets up its random generator when it is first asked (it looks for a device
    // that tells of restored virtual machines, and takes a page that no child inherits). Here
    // the process is not confined yet. A failure shows again when keys are made.
    let _ = provider.secure_random.fill(&mut [0; 1]);
    Arc::new(provider)
}

/// What a server needs for TLS: certificates, keys, ticket keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerConfig>);

/// What a client needs for TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

/// Why certificates could not be loaded.
#[derive(Debug)]
pub struct LoadError {
    /// The file that is wrong.
    pub file: std::path::PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for LoadError {}

impl ServerTls {
    /// Reads certificate chains and keys (PEM). The first pair serves clients that send no name
    /// or one that no certificate covers; any other is chosen by the name (SNI).
    ///
    /// Sessions are resumed by tickets, whose keys live and rotate in this process.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn load<'a>(
        pairs: impl IntoIterator<Item = (&'a Path, &'a Path)>,
    ) -> Result<ServerTls, LoadError> {
        let mut keys = Vec::new();
        for (cert, key) in pairs {
            let fail = |file: &Path, reason: String| LoadError {
                file: file.to_owned(),
                reason,
            };
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| fail(cert, format!("no certificate could be read: {e}")))?;
            if chain.is_empty() {
                return Err(fail(cert, "holds no certificate".into()));
            }
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| fail(key, format!("no private key could be read: {e}")))?;
            let pair = CertifiedKey::from_der(chain, private, &provider()).map_err(|e| {
                fail(
                    key,
                    format!("key and certificate {} do not fit: {e}", cert.display()),
                )
            })?;
            keys.push(Arc::new(pair));
        }
        let Some(first) = keys.first().cloned() else {
            return Err(LoadError {
                file: "tls".into(),
                reason: "no certificate is configured".into(),
            });
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| LoadError {
                file: "tls".into(),
                reason: e.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName { first, keys }));
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|e| LoadError {
            file: "tls".into(),
            reason: format!("no ticket keys: {e}"),
        })?;
        config.max_early_data_size = 0;
        Ok(ServerTls(Arc::new(config)))
    }
}

/// Chooses the certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.keys.iter().find(|key| {
                key.end_entity_cert()
                    .ok()
                    .and_then(|der| ParsedCertificate::try_from(der).ok())
                    .is_some_and(|cert| rustls::client::verify_server_name(&cert, &name).is_ok())
            })
        });
        Some(Arc::clone(found.unwrap_or(&self.first)))
    }
}

impl ClientTls {
    /// Opportunistic TLS (RFC 7435): encrypts towards whoever is there. The peer must still prove
    /// that it holds the key of the certificate that it shows.
    ///
    /// # Errors
    /// The library's, when it has no cipher left.
    pub fn opportunistic() -> Result<ClientTls, rustls::Error> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
            .with_no_client_auth();
        Ok(ClientTls(Arc::new(config)))
    }

    /// TLS towards a host that proves its name by a chain to one of the certificates in these PEM
    /// texts. Certificates that can't be read are passed over.
    ///
    /// # Errors
    /// The library's; also when there is no certificate to trust.
    pub fn proven<'a>(
        trusted: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<ClientTls, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        for pem in trusted {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        }
        if roots.is_empty() {
            return Err(rustls::Error::General(
                "no certificate of an authority to trust".to_owned(),
            ));
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(ClientTls(Arc::new(config)))
    }
}

/// Accepts any certificate, but not a handshake that is not signed with its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a connection has agreed on, for trace fields and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// As in RFC 8314 style trace: `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// IANA's name of the cipher suite.
    pub cipher: String,
    /// The name that the client asked for (SNI), on the server's side.
    pub server_name: Option<String>,
}

/// Both ends of rustls have the same methods on different types; this calls one on either.
macro_rules! either {
    ($tls:expr, $c:ident => $body:expr) => {
        match $tls {
            rustls::Connection::Server($c) => $body,
            rustls::Connection::Client($c) => $body,
        }
    };
}

/// A socket, in clear or under TLS, that never blocks.
///
/// `read` and `write` behave as on the bare socket: `WouldBlock` means wait for the next event;
/// `Ok(0)` from `read` means that the peer has ended the stream (under TLS: sent its
/// close_notify, or closed the socket; [`Stream::ended_properly`] tells which).
///
/// Register the socket once, for both directions, edge-triggered: after a `read` call
/// [`Stream::flush`] as well, since reading may have made records to send (handshake, key
/// updates, alerts). `write` flushes as much as the socket takes; what is left is flushed at the
/// next writable event, and [`Stream::has_pending`] tells that there is some.
pub struct Stream<S> {
    socket: S,
    tls: Option<Box<rustls::Connection>>,
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls.is_some() {
            "Stream(TLS)"
        } else {
            "Stream(clear)"
        })
    }
}

/// Most octets of ciphertext that wait for the socket, so that a peer that does not read bounds our memory.
pub const SEND_BUFFER_MAX: usize = 64 * 1024;

impl<S: Read + Write> Stream<S> {
    /// A stream in clear.
    pub fn clear(socket: S) -> Stream<S> {
        Stream { socket, tls: None }
    }

    /// Becomes the server's side of TLS. What was read in clear before must have been thrown away.
    ///
    /// # Errors
    /// The library's.
    pub fn start_server(&mut self, tls: &ServerTls) -> io::Result<()> {
        let mut connection = ServerConnection::new(Arc::clone(&tls.0)).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(SEND_BUFFER_MAX));
        self.tls = Some(Box::new(connection.into()));
        Ok(())
    }

    /// Becomes the client's side of TLS towards `name`, and sends the first handshake record.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is neither a host name nor an address; the socket's.
    pub fn start_client(&mut self, tls: &ClientTls, name: &str) -> io::Result<()> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut connection =
            ClientConnection::new(Arc::clone(&tls.0), name).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(SEND_BUFFER_MAX));
        self.tls = Some(Box::new(connection.into()));
        self.flush()
    }

    /// Whether the stream is under TLS (the handshake may still be going on).
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a TLS handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|t| t.is_handshaking())
    }

    /// What was agreed; `None` in clear or before the handshake has ended.
    pub fn facts(&self) -> Option<TlsFacts> {
        let tls = self.tls.as_ref()?;
        let protocol = match tls.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLS",
        };
        let cipher = tls.negotiated_cipher_suite()?.suite().as_str()?.to_owned();
        let server_name = match &**tls {
            rustls::Connection::Server(s) => s.server_name().map(str::to_owned),
            rustls::Connection::Client(_) => None,
        };
        Some(TlsFacts {
            protocol,
            cipher,
            server_name,
        })
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// `WouldBlock`; the socket's; `InvalidData` when the peer broke the TLS protocol (the alert
    /// has been given to the socket if it took it).
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return retry(|| self.socket.read(buffer));
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The socket ended without close_notify: an end; the protocols above have ends of
                // their own, or ask `ended_properly`.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) => return Err(e),
            }
            match retry(|| either!(&mut *tls, c => c.read_tls(&mut self.socket))) {
                Ok(0) => {
                    // The reader tells the difference between a clean end and a cut.
                    let _ = tls.process_new_packets();
                    return match tls.reader().read(buffer) {
                        Ok(n) => Ok(n),
                        Err(_) => Ok(0),
                    };
                }
                Ok(_) => {}
                Err(e) => return Err(e),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert for the peer; it may be gone already.
                let _ = either!(&mut *tls, c => c.write_tls(&mut self.socket));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            // Handshake answers go out as soon as they are made.
            if tls.wants_write() {
                flush_tls(tls, &mut self.socket)?;
            }
        }
    }

    /// Whether the end that `read` has given was the peer's: under TLS a close_notify (RFC 8446, 6.1).
    /// Without it anybody on the way may have cut the stream, which matters where nothing but its
    /// end tells that a text is whole. In clear there is no difference to see, so always true.
    pub fn ended_properly(&mut self) -> bool {
        // Nothing is left to process; the answer has the state in it.
        self.tls.as_deref_mut().is_none_or(|tls| {
            tls.process_new_packets()
                .is_ok_and(|state| state.peer_has_closed())
        })
    }

    /// Writes as much as fits; the rest is the caller's.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken; the socket's.
    pub fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return retry(|| self.socket.write(data));
        };
        if tls.wants_write() {
            flush_tls(tls, &mut self.socket)?;
        }
        let taken = tls.writer().write(data)?;
        flush_tls(tls, &mut self.socket)?;
        if taken == 0 && !data.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Gives the socket what TLS has left to send. `Ok` also when the socket takes no more now.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.tls.as_deref_mut() {
            Some(tls) => flush_tls(tls, &mut self.socket),
            None => Ok(()),
        }
    }

    /// Whether TLS records wait for the socket to become writable.
    pub fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|t| t.wants_write())
    }

    /// Tells the peer that we are done (close_notify), as far as the socket takes it now.
    pub fn close(&mut self) {
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.send_close_notify();
            let _ = flush_tls(tls, &mut self.socket);
        }
    }

    /// The socket underneath, for registration and addresses.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket underneath.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn flush_tls<S: Read + Write>(tls: &mut rustls::Connection, socket: &mut S) -> io::Result<()> {
    while tls.wants_write() {
        match retry(|| either!(&mut *tls, c => c.write_tls(socket))) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (c, k) = (
            dir.join(format!("{name}.crt")),
            dir.join(format!("{name}.key")),
        );
        std::fs::write(&c, made.cert.pem()).unwrap();
        std::fs::write(&k, made.signing_key.serialize_pem()).unwrap();
        (c, k)
    }

    fn pair() -> (Stream<UnixStream>, Stream<UnixStream>) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (Stream::clear(a), Stream::clear(b))
    }

    /// Moves both sides until neither is in the handshake.
    fn shake(a: &mut Stream<UnixStream>, b: &mut Stream<UnixStream>) {
        for _ in 0..20 {
            for s in [&mut *a, &mut *b] {
                let mut none = [0; 0];
                let _ = s
                    .read(&mut none)
                    .map_err(|e| assert_eq!(e.kind(), io::ErrorKind::WouldBlock));
                let mut one = [0; 1];
                if s.is_handshaking() {
                    assert_eq!(
                        s.read(&mut one).unwrap_err().kind(),
                        io::ErrorKind::WouldBlock
                    );
                }
            }
            if !a.is_handshaking() && !b.is_handshaking() {
                return;
            }
        }
        panic!("no end of the handshake");
    }

    #[test]
    fn octets_pass_and_the_end_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (c, k) = certificate(dir.path(), "mx.example.org");
        let tls = ServerTls::load([(&*c, &*k)]).unwrap();
        let (mut server, mut client) = pair();
        server.start_server(&tls).unwrap();
        client
            .start_client(&ClientTls::opportunistic().unwrap(), "mx.example.org")
            .unwrap();
        shake(&mut server, &mut client);
        assert_eq!(server.facts().unwrap().protocol, "TLSv1.3");
        let group = server
            .tls
            .as_deref()
            .unwrap()
            .negotiated_key_exchange_group();
        assert_eq!(
            group.unwrap().name(),
            rustls::NamedGroup::X25519MLKEM768,
            "safe from who records today and computes later"
        );
        assert_eq!(
            server.facts().unwrap().server_name.as_deref(),
            Some("mx.example.org")
        );
        assert_eq!(client.write(b"EHLO x").unwrap(), 6);
        let mut buffer = [0; 100];
        assert_eq!(server.read(&mut buffer).unwrap(), 6);
        assert_eq!(&buffer[..6], b"EHLO x");
        assert_eq!(
            server.read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        client.close();
        assert_eq!(
            server.read(&mut buffer).unwrap(),
            0,
            "close_notify is an end"
        );
        drop(client);
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn an_end_without_close_notify_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (c, k) = certificate(dir.path(), "mx.example.org");
        let tls = ServerTls::load([(&*c, &*k)]).unwrap();
        for proper in [true, false] {
            let (mut server, mut client) = pair();
            server.start_server(&tls).unwrap();
            client
                .start_client(&ClientTls::opportunistic().unwrap(), "mx.example.org")
                .unwrap();
            shake(&mut server, &mut client);
            // With the tickets, because a socket closed over what was not read is reset.
            server.write(b"220").unwrap();
            assert_eq!(client.read(&mut [0; 10]).unwrap(), 3);
            client.write(b"QUIT").unwrap();
            if proper {
                client.close();
            }
            drop(client);
            let mut buffer = [0; 100];
            assert_eq!(server.read(&mut buffer).unwrap(), 4, "{proper}");
            for _ in 0..2 {
                assert_eq!(server.read(&mut buffer).unwrap(), 0, "{proper}");
                assert_eq!(server.ended_properly(), proper);
            }
        }
        let (mut server, client) = pair();
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        assert!(server.ended_properly(), "in clear an end is an end");
    }

    #[test]
    fn a_second_session_is_resumed_by_its_ticket() {
        let dir = tempfile::tempdir().unwrap();
        let (c, k) = certificate(dir.path(), "mx.example.org");
        let (tls, client_tls) = (
            ServerTls::load([(&*c, &*k)]).unwrap(),
            ClientTls::opportunistic().unwrap(),
        );
        for wanted in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let (mut server, mut client) = pair();
            server.start_server(&tls).unwrap();
            client.start_client(&client_tls, "mx.example.org").unwrap();
            shake(&mut server, &mut client);
            // The tickets come behind the handshake, with the first octets.
            server.write(b"220").unwrap();
            client.read(&mut [0; 10]).unwrap();
            assert_eq!(
                server.tls.as_deref().unwrap().handshake_kind(),
                Some(wanted)
            );
        }
    }

    #[test]
    fn a_peer_that_does_not_read_bounds_our_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (c, k) = certificate(dir.path(), "mx.example.org");
        let (mut server, mut client) = pair();
        server
            .start_server(&ServerTls::load([(&*c, &*k)]).unwrap())
            .unwrap();
        client
            .start_client(&ClientTls::opportunistic().unwrap(), "mx.example.org")
            .unwrap();
        shake(&mut server, &mut client);
        let block = [7; 16 * 1024];
        let mut sent = 0;
        loop {
            match server.write(&block) {
                Ok(n) => sent += n,
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
            assert!(sent < 16 * 1024 * 1024, "no back-pressure");
        }
        assert!(server.has_pending());
        let (mut got, mut buffer) = (0, [0; 4096]);
        while got < sent {
            match client.read(&mut buffer) {
                Ok(n) => got += n,
                Err(_) => server.flush().unwrap(),
            }
        }
        assert_eq!(got, sent);
    }

    #[test]
    fn the_certificate_follows_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (c1, k1) = certificate(dir.path(), "one.example");
        let (c2, k2) = certificate(dir.path(), "two.example");
        let tls = ServerTls::load([(&*c1, &*k1), (&*c2, &*k2)]).unwrap();
        let der = |p: &Path| CertificateDer::from_pem_file(p).unwrap();
        for (name, want) in [
            ("one.example", &c1),
            ("two.example", &c2),
            ("three.example", &c1),
        ] {
            let (mut server, mut client) = pair();
            server.start_server(&tls).unwrap();
            client
                .start_client(&ClientTls::opportunistic().unwrap(), name)
                .unwrap();
            shake(&mut server, &mut client);
            let shown = match client.tls.as_deref().unwrap() {
                rustls::Connection::Client(c) => {
                    c.peer_certificates().unwrap()[0].clone().into_owned()
                }
                rustls::Connection::Server(_) => unreachable!(),
            };
            assert_eq!(shown, der(want), "{name}");
        }
    }

    #[test]
    fn garbage_is_an_error_and_wrong_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (c, k) = certificate(dir.path(), "mx.example.org");
        let (c2, _) = certificate(dir.path(), "other.example");
        let (mut server, mut client) = pair();
        server
            .start_server(&ServerTls::load([(&*c, &*k)]).unwrap())
            .unwrap();
        client.write(b"EHLO this is not TLS\r\n").unwrap();
        assert_eq!(
            server.read(&mut [0; 10]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(ServerTls::load([(&*c2, &*k)]).unwrap_err().file, k);
        assert_eq!(ServerTls::load([(&*k, &*k)]).unwrap_err().file, k);
        assert!(
            ServerTls::load([])
                .unwrap_err()
                .to_string()
                .contains("no certificate")
        );
    }
}
