//! The server's life: bound before `serve` returns, ended when its handle is dropped.

use super::routes::router;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long requests in flight are given when the server ends.
const GRACE: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    hub: Arc<Hub>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves the hub on a loopback address; port 0 takes any free port.
///
/// # Errors
/// If the address is not a loopback one, or cannot be had.
pub fn serve(hub: Arc<Hub>, address: SocketAddr) -> Result<Server> {
    if !address.ip().is_loopback() {
        let why = format!("{address} can be reached from other machines; ask for that by name");
        return Err(HubError::Invalid(why));
    }
    serve_anywhere(hub, address)
}

/// As [`serve`], on any address. There is no encryption: put something that has it in front.
///
/// # Errors
/// If the address cannot be had.
pub fn serve_anywhere(hub: Arc<Hub>, address: SocketAddr) -> Result<Server> {
    let failed = |error| HubError::io(format!("serving on {address}"), error);
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hub-http")
        .enable_all()
        .build()
        .map_err(failed)?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let app = router(hub.clone());
    let thread = std::thread::Builder::new()
        .name("hub-server".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let (hurry, hurried) = oneshot::channel::<()>();
                let ending = async {
                    // Either a call or the handle's end.
                    let _ = stopped.await;
                    let _ = hurry.send(());
                };
                let served = axum::serve(listener, app).with_graceful_shutdown(ending);
                let impatient = async {
                    let _ = hurried.await;
                    tokio::time::sleep(GRACE).await;
                };
                tokio::select! {
                    ended = served.into_future() => {
                        if let Err(error) = ended {
                            eprintln!("hub: the server ended: {error}");
                        }
                    }
                    () = impatient => {}
                }
            });
            runtime.shutdown_background();
        })
        .map_err(failed)?;
    Ok(Server {
        address,
        hub,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients are given.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends long polls, answers what is in flight, and ends. Dropping does the same.
    pub fn shutdown(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hub.stop_waiting();
        if let Some(stop) = self.stop.take() {
            // Fails only if the server has ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
