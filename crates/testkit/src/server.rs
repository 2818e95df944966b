//! A listener on loopback with a thread for each connection, and what they share with the test.

use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// What the connections' threads and the test share: a state that both wait for changes of.
#[derive(Default)]
pub(crate) struct Shared<S> {
    inner: Mutex<Inner<S>>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner<S> {
    state: S,
    clients: Vec<SocketAddr>,
    /// Copies of the sockets, to end them with.
    open: Vec<TcpStream>,
    stopped: bool,
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; whoever waits looks again.
    pub fn change(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.lock().state);
        self.changed.notify_all();
    }

    /// Forgets the copies of a connection's socket: they would hold it open.
    pub fn forget(&self, client: Option<SocketAddr>) {
        let other = |copy: &TcpStream| copy.peer_addr().ok() != client;
        self.lock().open.retain(other);
    }
}

impl<S: Debug> Shared<S> {
    /// Waits until `ready` gives something; `None` when the server is stopped first.
    ///
    /// # Panics
    /// When [`PATIENCE`] ends first, with the state.
    pub fn wait<T>(&self, what: &str, mut ready: impl FnMut(&S) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        let mut inner = self.lock();
        loop {
            let value = ready(&inner.state);
            if value.is_some() || inner.stopped {
                return value;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for {what}; so far: {:#?}",
                inner.state
            );
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The server. Stops when dropped: its connections are shut and their threads waited for.
pub(crate) struct Server<S> {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it shares.
    pub shared: Arc<Shared<S>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Default + Send + 'static> Server<S> {
    /// Listens at `address`, port 0 for a free one, and runs `serve` for each connection and its
    /// number, counted from 0.
    ///
    /// # Errors
    /// What binding gave.
    pub fn start(
        address: SocketAddr,
        serve: impl Fn(TcpStream, usize, &Shared<S>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, &inner, &Arc::new(serve)));
        Ok(Self {
            address,
            shared,
            thread: Some(thread),
        })
    }
}

impl<S> Server<S> {
    /// From where connections came so far, in order.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.shared.lock().clients.clone()
    }
}

impl<S> Drop for Server<S> {
    fn drop(&mut self) {
        {
            let mut inner = self.shared.lock();
            inner.stopped = true;
            for socket in &inner.open {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
        // The accept that waits.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept<S: Send + 'static>(
    listener: &TcpListener,
    shared: &Arc<Shared<S>>,
    serve: &Arc<impl Fn(TcpStream, usize, &Shared<S>) + Send + Sync + 'static>,
) {
    let mut threads = Vec::new();
    loop {
        let Ok((socket, from)) = listener.accept() else {
            continue;
        };
        let number = {
            let mut inner = shared.lock();
            if inner.stopped {
                break;
            }
            inner.open.extend(socket.try_clone());
            inner.clients.push(from);
            inner.clients.len() - 1
        };
        shared.changed.notify_all();
        let (shared, serve) = (Arc::clone(shared), Arc::clone(serve));
        threads.push(std::thread::spawn(move || serve(socket, number, &shared)));
    }
    for thread in threads {
        let _ = thread.join();
    }
}
