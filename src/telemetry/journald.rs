//! What journald is sent, in its [native protocol](https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): an event is a datagram of
//! fields, which [`Lines`] sends.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::lines::{Lines, Outlet};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// A value that is longer is cut: with all its fields an event fits into a datagram, and the longest is a list of threads.
const VALUE_BYTES_MAX: usize = 48 * 1024;

/// Sends to journald.
pub(super) struct Journald(UnixDatagram);

impl Journald {
    /// Finds whoever listens at `socket`.
    ///
    /// # Errors
    /// Nobody does.
    pub(super) fn at(socket: &Path) -> io::Result<Self> {
        let datagram = UnixDatagram::unbound()?;
        datagram.connect(socket)?;
        Ok(Self(datagram))
    }
}

impl Outlet for Journald {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let sent = self.0.send(line);
        if sent
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        {
            // journald was started anew: its place is the same, and its socket another one.
            let address = self.0.peer_addr().ok();
            if let Some(path) = address.as_ref().and_then(|a| a.as_pathname()) {
                self.0.connect(path)?;
                return self.0.send(line).map(|_| ());
            }
        }
        sent.map(|_| ())
    }
}

/// Makes datagrams of events. Their fields are journald's, in capitals: `interview_id` is INTERVIEW_ID. Those of the spans
/// around an event are its own, unless it has one of that name.
pub(super) struct JournaldLayer {
    lines: Lines,
    identifier: String,
}

impl JournaldLayer {
    pub(super) fn new(lines: Lines) -> Self {
        let program = std::env::args_os().next();
        let name = program.as_deref().map(Path::new).and_then(Path::file_name);
        Self {
            lines,
            identifier: name.map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JournaldLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut about = About::default();
        attributes.record(&mut about);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(about);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        fields.describe(event.metadata());
        fields.put("SYSLOG_IDENTIFIER", self.identifier.as_bytes());
        event.record(&mut fields);
        // The innermost first.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(About(about)) = span.extensions().get() {
                for (name, value) in about {
                    fields.put_once(name, value.as_bytes());
                }
            }
        }
        self.lines.push(fields.datagram);
    }
}

/// The fields of a span.
#[derive(Default)]
struct About(Vec<(&'static str, String)>);

impl Visit for About {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// A datagram that is being made.
#[derive(Default)]
struct Fields {
    datagram: Vec<u8>,
    value: String,
    /// What the event, and the spans that were looked at, have said already.
    names: Vec<&'static str>,
}

impl Fields {
    fn describe(&mut self, metadata: &Metadata<'_>) {
        let priority = match *metadata.level() {
            Level::ERROR => b"3",
            Level::WARN => b"4",
            Level::INFO => b"5",
            Level::DEBUG => b"6",
            Level::TRACE => b"7",
        };
        self.put("PRIORITY", priority);
        self.put("TARGET", metadata.target().as_bytes());
        if let Some(file) = metadata.file() {
            self.put("CODE_FILE", file.as_bytes());
        }
        if let Some(line) = metadata.line() {
            self.put("CODE_LINE", line.to_string().as_bytes());
        }
    }

    fn put_once(&mut self, name: &'static str, value: &[u8]) {
        if !self.names.contains(&name) {
            self.names.push(name);
            self.put(name, value);
        }
    }

    /// A field with its length, so that the value may hold anything.
    fn put(&mut self, name: &str, value: &[u8]) {
        let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
        let before = self.datagram.len();
        // journald takes capitals, digits and underscores, the first of which is none of the latter two.
        let taken = name.bytes().map(|byte| match byte {
            b'.' => b'_',
            other => other.to_ascii_uppercase(),
        });
        self.datagram.extend(
            taken
                .filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                .skip_while(|byte| !byte.is_ascii_uppercase()),
        );
        if self.datagram.len() == before {
            return;
        }
        self.datagram.push(b'\n');
        let length = u64::try_from(value.len()).unwrap_or(0);
        self.datagram.extend_from_slice(&length.to_le_bytes());
        self.datagram.extend_from_slice(value);
        self.datagram.push(b'\n');
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_once(field.name(), value.as_bytes());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        // Writing into a text fails only where the value's own code does.
        let _written = write!(text, "{value:?}");
        self.put_once(field.name(), text.as_bytes());
        self.value = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    /// What is in a datagram.
    fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|b| *b == b'\n').unwrap();
            let name = String::from_utf8(datagram[..end].to_vec()).unwrap();
            let (length, rest) = datagram[end + 1..].split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            let value = String::from_utf8(rest[..length].to_vec()).unwrap();
            assert_eq!(rest[length], b'\n');
            datagram = &rest[length + 1..];
            found.insert(name, value);
        }
        found
    }

    /// The datagram of the one line that is logged.
    fn datagram_of(log: impl FnOnce()) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let journald = UnixDatagram::bind(&place).unwrap();
        journald
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let lines = Lines::start(Journald::at(&place).unwrap()).unwrap();
        let subscriber = tracing_subscriber::registry().with(JournaldLayer::new(lines));
        tracing::subscriber::with_default(subscriber, log);
        let mut datagram = vec![0; 256 * 1024];
        let length = journald.recv(&mut datagram).unwrap();
        datagram.truncate(length);
        datagram
    }

    #[test]
    fn an_event_is_a_datagram_of_its_fields() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let datagram = datagram_of(|| {
            tracing::warn!(interview_id = %"a\nb", elapsed_ms = 7, long, "it is {}", "so");
        });
        let fields = fields(&datagram);
        let value = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(value("MESSAGE"), Some("it is so"));
        assert_eq!(value("PRIORITY"), Some("4"));
        assert_eq!(value("INTERVIEW_ID"), Some("a\nb"));
        assert_eq!(value("ELAPSED_MS"), Some("7"));
        assert_eq!(value("LONG").map(str::len), Some(VALUE_BYTES_MAX));
        assert!(value("CODE_FILE").is_some() && value("SYSLOG_IDENTIFIER").is_some());
    }

    #[test]
    fn an_event_has_the_fields_of_the_spans_around_it_and_its_own_before_them() {
        let datagram = datagram_of(|| {
            let outer = tracing::error_span!("interview", interview_id = %"outer", room = "r");
            let job_id: Option<&str> = None;
            let inner = tracing::error_span!("inner", room = "inner", job_id);
            outer.in_scope(|| inner.in_scope(|| tracing::info!(interview_id = "own", "it is so")));
        });
        let found = fields(&datagram);
        assert_eq!(found["INTERVIEW_ID"], "own");
        assert_eq!(found["ROOM"], "inner");
        assert!(!found.contains_key("JOB_ID"));
        let times = |name: &[u8]| datagram.windows(name.len()).filter(|w| *w == name).count();
        assert_eq!((times(b"INTERVIEW_ID"), times(b"ROOM")), (1, 1));
    }

    #[test]
    fn nobody_waits_for_a_journald_that_does_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("socket");
        let journald = UnixDatagram::bind(&place).unwrap();
        let lines = Lines::start(Journald::at(&place).unwrap()).unwrap();
        let subscriber = tracing_subscriber::registry().with(JournaldLayer::new(lines.clone()));
        tracing::subscriber::with_default(subscriber, || {
            // More than the socket and the queue take together.
            let mut number = 0_u64;
            while lines.lost() == 0 {
                tracing::info!(number, "a line");
                number += 1;
            }
        });
        // It reads again, and gets what waited.
        let look = Duration::from_millis(10);
        journald.set_read_timeout(Some(look)).unwrap();
        let mut datagram = vec![0; 4096];
        let mut expected = 0;
        while !lines.flush(Duration::ZERO) {
            // The last one may have come already.
            let Ok(length) = journald.recv(&mut datagram) else {
                continue;
            };
            assert_eq!(fields(&datagram[..length])["NUMBER"], expected.to_string());
            expected += 1;
        }
        assert!(expected > 100, "{expected}");
    }
}
