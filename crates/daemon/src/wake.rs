//! Answers from a daemon's own threads, brought into its loop.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use mio::{Registry, Token, Waker};

/// Stack of a thread, in octets.
const STACK: usize = 256 * 1024;

/// A fixed number of threads that work through jobs; the loop is woken when one is finished.
///
/// A thread is started when a job finds none that waits, so after confinement, and inherits it.
/// Handing a job over costs one wake-up of a thread, and its result one of the loop: none where
/// the other side is awake anyway.
pub struct Pool<J, R> {
    size: usize,
    started: usize,
    work: fn(J) -> R,
    shared: Arc<Shared<J, R>>,
}

struct Shared<J, R> {
    waker: Waker,
    state: Mutex<State<J, R>>,
    more: Condvar,
}

struct State<J, R> {
    jobs: VecDeque<J>,
    done: VecDeque<R>,
    /// Threads that wait for a job.
    idle: usize,
    /// The loop has been woken and has not yet found that nothing is left.
    woken: bool,
    /// No job will come any more.
    closed: bool,
}

impl<J, R> Shared<J, R> {
    /// Nobody works while holding it, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A job, as soon as there is one; `None` when none will come.
    fn next(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.more.wait(state).unwrap_or_else(|e| e.into_inner());
            state.idle -= 1;
        }
    }

    /// Leaves a result for the loop.
    fn put(&self, result: R) -> io::Result<()> {
        let mut state = self.lock();
        state.done.push_back(result);
        let woken = std::mem::replace(&mut state.woken, true);
        drop(state);
        if woken { Ok(()) } else { self.waker.wake() }
    }
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// A pool of at most `size` threads whose results wake `token`.
    ///
    /// # Errors
    /// The system's, when no event descriptor can be made.
    pub fn new(
        registry: &Registry,
        token: Token,
        size: usize,
        work: fn(J) -> R,
    ) -> io::Result<Self> {
        Ok(Pool {
            size: size.max(1),
            started: 0,
            work,
            shared: Arc::new(Shared {
                waker: Waker::new(registry, token)?,
                state: Mutex::new(State {
                    jobs: VecDeque::new(),
                    done: VecDeque::new(),
                    idle: 0,
                    woken: false,
                    closed: false,
                }),
                more: Condvar::new(),
            }),
        })
    }

    /// Hands a job to the threads. Never blocks: what they can't take waits in order.
    ///
    /// # Errors
    /// The system's, when no thread at all can be started; the job is lost then.
    pub fn give(&mut self, job: J) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        let (waiting, idle) = (state.jobs.len(), state.idle);
        drop(state);
        if idle > 0 {
            // After the lock is free again, so that the thread does not wake to wait for it.
            self.shared.more.notify_one();
        }
        if waiting > idle && self.started < self.size {
            match self.start() {
                Ok(()) => self.started += 1,
                // Those that are there get to it.
                Err(_) if self.started > 0 => {}
                Err(error) => {
                    self.shared.lock().jobs.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes one result; call it until `None` when the pool's token fires.
    pub fn take(&mut self) -> Option<R> {
        let mut state = self.shared.lock();
        let result = state.done.pop_front();
        state.woken = result.is_some();
        result
    }

    /// How many jobs wait because all threads are busy.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    fn start(&self) -> io::Result<()> {
        let (shared, work) = (Arc::clone(&self.shared), self.work);
        std::thread::Builder::new()
            .name("pool".into())
            .stack_size(STACK)
            .spawn(move || {
                while let Some(job) = shared.next() {
                    if shared.put(work(job)).is_err() {
                        return;
                    }
                }
            })
            .map(drop)
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
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
