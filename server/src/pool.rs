//! A fixed number of threads that do what may block, and a queue before them that never grows beyond its bound.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::ApiError;

type Job = Box<dyn FnOnce() + Send>;

/// Threads, and what waits for them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    waiting_max: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("waiting_max", &self.waiting_max).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    /// Jobs that did not fit.
    refused: u64,
    waiting: VecDeque<Job>,
    closed: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing behind these locks can be left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// So many threads, before which so many jobs may wait.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(name: &str, threads: usize, waiting_max: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), waiting_max });
        let pool = Self { shared, threads: Mutex::default() };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            locked(&pool.threads).push(thread.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Does something on one of the threads and hands back what came of it. What nobody waits for any more when its turn
    /// comes is not begun.
    ///
    /// # Errors
    /// When too much is waiting already, the pool was closed, or the job panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (sender, receiver) = oneshot::channel();
        self.shared.push(Box::new(move || {
            if sender.is_closed() {
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(work));
            // Whoever asked may have gone meanwhile.
            let _ = sender.send(done);
        }))?;
        match receiver.await {
            Ok(Ok(done)) => Ok(done),
            _ => Err(ApiError::internal("the request ended in a panic: a mistake of this program")),
        }
    }

    /// Does something on one of the threads that nobody waits for. Says whether there was room for it.
    pub(crate) fn offer(&self, work: impl FnOnce() + Send + 'static) -> bool {
        // The default hook says what went wrong.
        self.shared.push(Box::new(|| drop(catch_unwind(AssertUnwindSafe(work))))).is_ok()
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        locked(&self.shared.queue).waiting.len()
    }

    /// Jobs that did not fit, so far.
    pub(crate) fn refused(&self) -> u64 {
        locked(&self.shared.queue).refused
    }

    /// Takes no more jobs, does those that wait, and ends the threads.
    pub(crate) fn close(&self) {
        locked(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
        for thread in locked(&self.threads).drain(..) {
            // Jobs catch their panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), ApiError> {
        let mut queue = locked(&self.queue);
        if queue.closed {
            return Err(ApiError::busy("the server is stopping"));
        }
        if queue.waiting.len() >= self.waiting_max {
            queue.refused += 1;
            return Err(ApiError::busy(format!("{} requests are waiting already", queue.waiting.len())));
        }
        queue.waiting.push_back(job);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(job) = queue.waiting.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_an_error() {
        let pool = Pool::start("test", 2, 4).unwrap();
        assert_eq!(pool.run(|| 6 * 7).await.unwrap(), 42);
        let error = pool.run(|| panic!("planted")).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(error.status().as_u16(), 500);
        assert_eq!(pool.run(|| "still there").await.unwrap(), "still there");
        pool.close();
        assert_eq!(pool.run(|| ()).await.unwrap_err().status().as_u16(), 503);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_what_nobody_waits_for_is_not_begun() {
        let pool = Arc::new(Pool::start("test", 1, 1).unwrap());
        let (go, gate) = mpsc::channel::<()>();
        let (started, is_running) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move {
                pool.run(move || {
                    started.send(()).unwrap();
                    gate.recv().unwrap();
                })
                .await
            }
        });
        while is_running.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        // The second waits, the third does not fit. The second is given up before its turn.
        let (touched, was_touched) = mpsc::channel::<()>();
        let second = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(move || touched.send(()).unwrap()).await }
        });
        while locked(&pool.shared.queue).waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(|| ()).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 503);
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        pool.close();
        assert!(was_touched.try_recv().is_err());
    }
}
