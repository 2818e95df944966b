//! Answers from a daemon's own threads, brought into its loop.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use mio::{Registry, Token, Waker};

/// A fixed number of threads that work through jobs; the loop is woken for each finished one.
///
/// The threads are started at the first job, after confinement, and inherit it.
pub struct Pool<J, R> {
    size: usize,
    work: fn(J) -> R,
    waker: Arc<Waker>,
    jobs: Option<SyncSender<J>>,
    queue: std::collections::VecDeque<J>,
    done_tx: Sender<R>,
    done: Receiver<R>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// A pool of `size` threads whose results wake `token`.
    ///
    /// # Errors
    /// The system's, when no event descriptor can be made.
    pub fn new(
        registry: &Registry,
        token: Token,
        size: usize,
        work: fn(J) -> R,
    ) -> io::Result<Self> {
        let (done_tx, done) = channel();
        Ok(Pool {
            size: size.max(1),
            work,
            waker: Arc::new(Waker::new(registry, token)?),
            jobs: None,
            queue: std::collections::VecDeque::new(),
            done_tx,
            done,
        })
    }

    /// Hands a job to the threads. Never blocks: what they can't take waits in order.
    ///
    /// # Errors
    /// The system's, when the threads can't be started.
    pub fn give(&mut self, job: J) -> io::Result<()> {
        if self.jobs.is_none() {
            self.start()?;
        }
        self.queue.push_back(job);
        self.feed();
        Ok(())
    }

    /// Takes one result; call it until `None` when the pool's token fires.
    pub fn take(&mut self) -> Option<R> {
        let result = self.done.try_recv().ok();
        self.feed();
        result
    }

    /// How many jobs wait because all threads are busy and the channel is full.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn feed(&mut self) {
        let Some(jobs) = &self.jobs else { return };
        while let Some(job) = self.queue.pop_front() {
            if let Err(error) = jobs.try_send(job) {
                use std::sync::mpsc::TrySendError::{Disconnected, Full};
                let (Full(job) | Disconnected(job)) = error;
                self.queue.push_front(job);
                return;
            }
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let (tx, rx) = sync_channel::<J>(self.size * 2);
        let rx = Arc::new(Mutex::new(rx));
        for _ in 0..self.size {
            let (rx, done, waker, work) = (
                Arc::clone(&rx),
                self.done_tx.clone(),
                Arc::clone(&self.waker),
                self.work,
            );
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    loop {
                        // The lock is held only for the wait; a poisoned one means a thread died in recv.
                        let Ok(job) = rx.lock().unwrap_or_else(|e| e.into_inner()).recv() else {
                            return;
                        };
                        if done.send(work(job)).is_err() || waker.wake().is_err() {
                            return;
                        }
                    }
                })?;
        }
        self.jobs = Some(tx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_come_back_and_wake_the_loop() {
        let mut poll = mio::Poll::new().unwrap();
        let mut pool = Pool::new(poll.registry(), Token(7), 2, |n: u32| n * 2).unwrap();
        for n in 0..100 {
            pool.give(n).unwrap();
        }
        let mut events = mio::Events::with_capacity(8);
        let mut got = Vec::new();
        while got.len() < 100 {
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().all(|e| e.token() == Token(7)));
            while let Some(n) = pool.take() {
                got.push(n);
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(pool.waiting(), 0);
    }
}
