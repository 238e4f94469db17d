//! `aar-lab mcp` and `aar-lab model`: the two ways out of a command-line agent's sandbox.
//!
//! Each is a socket that the orchestrator put into the sandbox: [`HUB_SOCKET`] speaks the Model Context Protocol, one
//! JSON message a line, and [`MODEL_SOCKET`] the interface of the agent's model provider. This program carries bytes
//! and understands none of them; what may pass is decided on the other side.

use aar_core::workspace::{HUB_SOCKET, MODEL_PORT, MODEL_SOCKET};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections to the model at one time. An agent with helpers of its own has a handful.
const MOST_LINES: usize = 64;

/// Carries standard input to the hub's socket, and what it answers to standard output, until either ends.
///
/// # Errors
/// If there is no such socket, or the line breaks.
pub fn serve_hub() -> io::Result<()> {
    let line = UnixStream::connect(HUB_SOCKET)?;
    let outwards = line.try_clone()?;
    std::thread::spawn(move || {
        let _ = carry(io::stdin().lock(), &outwards);
        // The other side answers what it has, and then ends its half.
        let _ = outwards.shutdown(Shutdown::Write);
    });
    carry(&line, io::stdout().lock())
}

/// Listens on [`MODEL_PORT`] of the sandbox's loopback and carries each connection to the model's socket.
///
/// # Errors
/// If the port is taken.
pub fn serve_model() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, MODEL_PORT))?;
    listen(&listener, Path::new(MODEL_SOCKET))
}

fn listen(listener: &TcpListener, socket: &Path) -> io::Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let near = match listener.accept() {
            Ok((near, _)) => near,
            // The other side may have gone again, or too many files be open; the next one may do.
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(50));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST_LINES {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (socket, open) = (socket.to_owned(), Arc::clone(&open));
        std::thread::spawn(move || {
            // Whoever called sees its connection end.
            let _ = join(&near, &socket);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Joins a connection to the socket, both ways, until both have ended.
fn join(near: &TcpStream, socket: &Path) -> io::Result<()> {
    let far = UnixStream::connect(socket)?;
    near.set_nodelay(true)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = carry(near, &far);
            let _ = far.shutdown(Shutdown::Write);
        });
        let _ = carry(&far, near);
        // Nobody answers any more, so nothing more needs to be said.
        let _ = near.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Like `io::copy`, but each part is passed on at once.
fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut part = [0; 1 << 14];
    loop {
        match from.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&part[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_connection_is_carried_both_ways_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("model");
        let outside = UnixListener::bind(&socket).unwrap();
        let inside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = inside.local_addr().unwrap().port();
        std::thread::spawn(move || listen(&inside, &socket));

        let agent = std::thread::spawn(move || {
            let mut line = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            line.write_all(b"question").unwrap();
            line.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            line.read_to_string(&mut answer).unwrap();
            answer
        });
        let (mut line, _) = outside.accept().unwrap();
        let mut question = String::new();
        line.read_to_string(&mut question).unwrap();
        line.write_all(format!("{question}, answered").as_bytes())
            .unwrap();
        drop(line);
        assert_eq!(agent.join().unwrap(), "question, answered");
    }
}
