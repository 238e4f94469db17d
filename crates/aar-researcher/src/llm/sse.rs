//! Server-sent events, as far as model providers use them: `event` and `data` lines, blocks that end with an empty line
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SseEvent {
    /// The `event` line, empty without one.
    pub(super) name: String,
    /// The `data` lines, joined by line ends.
    pub(super) data: String,
}

/// An event is larger than allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

/// Reads events from bytes that may be cut anywhere.
#[derive(Debug)]
pub(super) struct SseParser {
    most_bytes: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    started: bool,
    name: String,
    data: Option<String>,
    event_bytes: usize,
}

impl SseParser {
    /// A parser that holds at most `most_bytes` of one event.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            line: Vec::new(),
            after_return: false,
            started: false,
            name: String::new(),
            data: None,
            event_bytes: 0,
        }
    }

    /// Takes the next bytes and gives the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, TooLarge> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let part = &rest[..end.unwrap_or(rest.len())];
            self.event_bytes += part.len();
            if self.event_bytes > self.most_bytes {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            events.extend(self.end_line());
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if !std::mem::replace(&mut self.started, true) && line.starts_with('\u{feff}') {
            line.remove(0);
        }
        if line.is_empty() {
            self.event_bytes = 0;
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            return Some(SseEvent { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments keep a connection awake; `id` and `retry` are for reconnecting, which no provider offers.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Vec<SseEvent> {
        SseParser::new(1 << 16).push(text.as_bytes()).unwrap()
    }

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent {
            name: name.into(),
            data: data.into(),
        }
    }

    #[test]
    fn the_forms_that_servers_use() {
        let text = "\u{feff}: hello\n\nevent: ping\ndata: {}\n\ndata:a\r\ndata: b\r\n\r\nevent: none\n\ndata\rid: 3\r\rdata: cut";
        let expected = [event("ping", "{}"), event("", "a\nb"), event("", "")];
        assert_eq!(whole(text), expected);
    }

    #[test]
    fn an_event_beyond_the_bound_is_refused_before_it_is_held() {
        let mut parser = SseParser::new(100);
        for _ in 0..50 {
            assert!(parser.push(b"data: 0123456789\n\n").is_ok());
        }
        assert_eq!(parser.push(&[b'x'; 101]), Err(TooLarge));
        let mut parser = SseParser::new(100);
        let lines = "data: 0123456789\n".repeat(7);
        assert_eq!(parser.push(lines.as_bytes()), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn where_bytes_are_cut_does_not_matter(
            events in prop::collection::vec(("[a-z_]{0,8}", "(\\PC|[äλ語🦀]){0,30}"), 0..8),
            ends in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let text: String = events
                .iter()
                .map(|(name, data)| format!("event: {name}{ends}data: {data}{ends}{ends}"))
                .collect();
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut parser = SseParser::new(1 << 16);
            let mut got = Vec::new();
            for pair in at.windows(2) {
                got.extend(parser.push(&bytes[pair[0]..pair[1]]).unwrap());
            }
            let expected: Vec<SseEvent> =
                events.iter().map(|(name, data)| event(name, data)).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut parser = SseParser::new(1 << 16);
            prop_assert!(parser.push(&bytes).is_ok());
        }
    }
}
