//! A connection in clear or under TLS, read and written the same way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::PATIENCE;

/// One end of a connection; every read and write gives up after [`PATIENCE`].
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Clear(TcpStream),
    /// We are the TLS server.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// We are the TLS client.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// What setting its deadlines gave.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Self::Clear(socket))
    }

    /// The socket below.
    pub const fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => socket,
            Self::Server(tls) => &tls.sock,
            Self::Client(tls) => &tls.sock,
        }
    }

    /// Whether TLS is on.
    pub const fn is_tls(&self) -> bool {
        !matches!(self, Self::Clear(_))
    }

    /// Becomes a TLS server; the handshake is done on return.
    ///
    /// # Errors
    /// What the handshake gave.
    pub fn into_server(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut socket = self.socket().try_clone()?;
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self::Server(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Becomes a TLS client that expects a certificate for `name`; the handshake is done on return.
    ///
    /// # Errors
    /// What the handshake gave, or a `name` that can't be one.
    pub fn into_client(self, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let mut socket = self.socket().try_clone()?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self::Client(Box::new(StreamOwned::new(tls, socket))))
    }

    /// Ends the connection in order (with close_notify under TLS).
    pub fn close(mut self) {
        match &mut self {
            Self::Clear(_) => {}
            Self::Server(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
            Self::Client(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
        let _ = self.socket().shutdown(Shutdown::Both);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(buffer),
            Self::Server(tls) => tls.read(buffer),
            Self::Client(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.write(buffer),
            Self::Server(tls) => tls.write(buffer),
            Self::Client(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(socket) => socket.flush(),
            Self::Server(tls) => tls.flush(),
            Self::Client(tls) => tls.flush(),
        }
    }
}
