//! A line out of a sandbox that is read no faster than it may be, and given up if nobody reads what it says.
//!
//! The server behind it takes up every message as it comes, and holds its answer until it is written. So whoever
//! asks without end and reads nothing would fill the orchestrator's memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, sleep};

/// How patient a line is.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Messages that may come at once.
    burst: u32,
    /// The pause after each further one.
    pause: Duration,
    /// How long an answer waits to be read.
    unread: Duration,
}

/// How patient lines out of sandboxes are.
pub(crate) const PACE: Pace = Pace {
    burst: 100,
    pause: Duration::from_millis(50),
    unread: Duration::from_secs(60),
};

/// One half of a line.
pub(crate) struct Patient<T> {
    half: T,
    pace: Pace,
    /// When the next message may come, or the next part is given up.
    alarm: Pin<Box<Sleep>>,
    /// Messages that may come before the next pause; for what is written, whether something waits.
    left: u32,
}

impl Patient<()> {
    /// The two halves of a line.
    pub(crate) fn halves(
        line: UnixStream,
        pace: Pace,
    ) -> (Patient<OwnedReadHalf>, Patient<OwnedWriteHalf>) {
        let (read, write) = line.into_split();
        let alarm = || Box::pin(sleep(pace.pause));
        let read = Patient {
            half: read,
            pace,
            alarm: alarm(),
            left: pace.burst,
        };
        let write = Patient {
            half: write,
            pace,
            alarm: alarm(),
            left: 0,
        };
        (read, write)
    }
}

impl AsyncRead for Patient<OwnedReadHalf> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            ready!(self.alarm.as_mut().poll(context));
            self.left = 1;
        }
        // Small parts, so that a pause comes soon after a message.
        let mut part = [0; 4_096];
        let most = part.len().min(buffer.remaining());
        let mut part = ReadBuf::new(&mut part[..most]);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut part))?;
        let messages = part.filled().iter().filter(|byte| **byte == b'\n').count();
        buffer.put_slice(part.filled());
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        if messages >= self.left {
            let pause = self.pace.pause * (messages - self.left + 1);
            self.alarm.as_mut().reset(Instant::now() + pause);
        }
        self.left = self.left.saturating_sub(messages);
        Poll::Ready(Ok(()))
    }
}

impl Patient<OwnedWriteHalf> {
    /// Gives the line up if what is polled has waited for too long.
    fn wait<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut OwnedWriteHalf>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.half), context) {
            self.left = 0;
            return Poll::Ready(done);
        }
        if self.left == 0 {
            self.left = 1;
            let given_up = Instant::now() + self.pace.unread;
            self.alarm.as_mut().reset(given_up);
        }
        ready!(self.alarm.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Patient<OwnedWriteHalf> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wait(context, |half, context| half.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context, |half, context| half.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const QUICK: Pace = Pace {
        burst: 10,
        pause: Duration::from_millis(1),
        unread: Duration::from_millis(50),
    };

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn messages_come_no_faster_than_they_may() {
        run(async {
            let (near, mut far) = UnixStream::pair().unwrap();
            let (mut read, _write) = Patient::halves(near, QUICK);
            let begun = Instant::now();
            far.write_all(&b"x\n".repeat(110)).await.unwrap();
            far.shutdown().await.unwrap();
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 220);
            assert!(
                begun.elapsed() >= 100 * QUICK.pause,
                "{:?}",
                begun.elapsed()
            );
        });
    }

    #[test]
    fn a_line_that_nobody_reads_is_given_up() {
        run(async {
            let (near, far) = UnixStream::pair().unwrap();
            let (_read, mut write) = Patient::halves(near, QUICK);
            let error = write.write_all(&[0; 16 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(far);
        });
    }
}
