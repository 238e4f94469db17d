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

/// Messages that may come at once.
const BURST: u32 = 100;
/// The pause after each further one.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer waits to be read.
const UNREAD: Duration = Duration::from_secs(60);

/// One half of a line.
pub(crate) struct Patient<T> {
    half: T,
    /// When the next message may come, or the next part is given up.
    alarm: Pin<Box<Sleep>>,
    /// Messages that may come before the next pause; for what is written, whether something waits.
    left: u32,
}

impl Patient<()> {
    /// The two halves of a line.
    pub(crate) fn halves(line: UnixStream) -> (Patient<OwnedReadHalf>, Patient<OwnedWriteHalf>) {
        let (read, write) = line.into_split();
        let alarm = || Box::pin(sleep(PAUSE));
        let read = Patient {
            half: read,
            alarm: alarm(),
            left: BURST,
        };
        let write = Patient {
            half: write,
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
            let pause = PAUSE * (messages - self.left + 1);
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
            self.alarm.as_mut().reset(Instant::now() + UNREAD);
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

    fn runtime() -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_all().start_paused(true).build().unwrap()
    }

    #[test]
    fn messages_come_no_faster_than_they_may() {
        runtime().block_on(async {
            let (near, mut far) = UnixStream::pair().unwrap();
            let (mut read, _write) = Patient::halves(near);
            let begun = Instant::now();
            far.write_all(&b"x\n".repeat(BURST as usize + 100))
                .await
                .unwrap();
            far.shutdown().await.unwrap();
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 2 * (BURST as usize + 100));
            assert!(begun.elapsed() >= 100 * PAUSE, "{:?}", begun.elapsed());
        });
    }

    #[test]
    fn a_line_that_nobody_reads_is_given_up() {
        runtime().block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            let (_read, mut write) = Patient::halves(near);
            let begun = Instant::now();
            let error = write.write_all(&[0; 16 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() >= UNREAD);
            drop(far);
        });
    }
}
