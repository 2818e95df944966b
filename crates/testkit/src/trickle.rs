//! One octet at a time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A transport that reads and writes at most one octet a call: the hardest peer of a parser and
/// the slowest friend of a writer.
#[derive(Debug)]
pub struct Trickle<T>(pub T);

impl<T: Read> Read for Trickle<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match buffer.first_mut() {
            Some(first) => self.0.read(std::slice::from_mut(first)),
            None => Ok(0),
        }
    }
}

impl<T: Write> Write for Trickle<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match buffer.first() {
            Some(first) => self.0.write(std::slice::from_ref(first)),
            None => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Every way to cut `input` in two, the empty ends included. A parser has to come to the same
/// result for all of them.
pub fn cuts(input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    (0..=input.len()).map(|at| input.split_at(at))
}

/// Stands between a client and a server and passes every octet on by itself, both ways, without
/// Nagle's delay. Stops when dropped.
pub struct TrickleProxy {
    /// Where it listens.
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for TrickleProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrickleProxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl TrickleProxy {
    /// Listens on a free port of 127.0.0.1 for connections to `server`.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            loop {
                let Ok((near, _)) = listener.accept() else {
                    continue;
                };
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect(server) else {
                    continue;
                };
                let (Ok(near_copy), Ok(far_copy)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                // Each direction ends with its source.
                std::thread::spawn(move || carry(near, far));
                std::thread::spawn(move || carry(far_copy, near_copy));
            }
        });
        Self {
            address,
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for TrickleProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    let mut block = [0; 4096];
    while let Ok(count) = from.read(&mut block) {
        if count == 0 {
            break;
        }
        for octet in block.iter().take(count) {
            if to.write_all(std::slice::from_ref(octet)).is_err() {
                break;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
