//! The listener: connections in, and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use nearline::Database;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use crate::app::{App, router};
use crate::config::{Config, ConfigError};
use crate::{log, tls};

/// Threads that read requests and write answers; the work is done by others.
const IO_THREADS: usize = 2;
/// How long to wait when no connection can be accepted, as when there are too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Threads or signals cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Answers until a signal (SIGINT, SIGTERM) asks to stop; then finishes what is under way, syncs, and closes.
/// `ready` is called once connections are accepted, with the address they are accepted on.
///
/// # Errors
/// As [`ServeError`] says. Once `ready` was called, nothing fails any more.
pub fn serve(database: Database, config: &Config, ready: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
    log::start(config);
    serve_until(database, config, ready, stop_signal)
}

/// As [`serve`], until something else says so: what `stop` gives is waited for. `stop` is called where there is an
/// executor.
///
/// # Errors
/// As [`serve`].
pub fn serve_until<S: Future<Output = ()>>(
    database: Database,
    config: &Config,
    ready: impl FnOnce(SocketAddr),
    stop: impl FnOnce() -> io::Result<S>,
) -> Result<(), ServeError> {
    config.check()?;
    let tls = tls::acceptor(config)?;
    let app = App::new(database, config.clone())?;
    let runtime = Builder::new_multi_thread().worker_threads(IO_THREADS).enable_all().build()?;
    let served = runtime.block_on(async {
        let failed = |source| ServeError::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let stop = stop()?;
        ready(listener.local_addr()?);
        let doors = Doors { config: Arc::new(config.clone()), tls, router: router(app.clone()) };
        accept(listener, doors, stop).await;
        Ok(())
    });
    // Connections that did not end in time do so now.
    drop(runtime);
    app.close();
    served
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Serves connections until `stop`; then those that are left, for a while.
async fn accept(listener: TcpListener, doors: Doors, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(doors.config.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, next_connection(&listener).await)
        };
        let (slot, stream) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let (doors, watcher) = (doors.clone(), graceful.watcher());
        tokio::spawn(async move {
            doors.serve(stream, watcher).await;
            drop(slot);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(Duration::from_secs_f64(doors.config.stop_seconds)) => {}
    }
}

/// What every connection goes through.
#[derive(Clone)]
struct Doors {
    config: Arc<Config>,
    tls: Option<TlsAcceptor>,
    router: Router,
}

impl Doors {
    /// Serves a connection to its end. Whatever ends it, the client knows it first.
    async fn serve(self, stream: TcpStream, watcher: Watcher) {
        let mut stream = TimeoutStream::new(stream);
        // Reading has its limits where it is known what is read.
        stream.set_write_timeout(Some(Duration::from_secs_f64(self.config.write_seconds)));
        let stream = Box::pin(stream);
        let Some(tls) = &self.tls else { return self.speak(stream, watcher).await };
        let seconds = Duration::from_secs_f64(self.config.handshake_seconds);
        if let Ok(Ok(stream)) = tokio::time::timeout(seconds, tls.accept(stream)).await {
            self.speak(stream, watcher).await;
        }
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs_f64(self.config.head_seconds));
        let service = TowerToHyperService::new(self.router.clone());
        let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
    }
}

async fn next_connection(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written whole: nothing is gained by waiting for more. Without it, it is only slower.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
