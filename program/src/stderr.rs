//! Standard error: messages for a person, whatever strangers' texts are in them.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::iter::successors;
use std::panic;

use med2e3_schemas::guarded;
use tracing_subscriber::fmt::MakeWriter;

use crate::visible;

/// Prints a message as one line, or as lines that are seen to belong together. A standard error that is closed loses it, nothing
/// else.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", visible::message(&text.to_string()));
}

/// An error with its causes, in one line: a message that leaves them out does not say why.
pub fn with_causes(error: &dyn Error) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Prints a text of several lines, such as how a program is used.
pub(crate) fn text(text: &str) {
    let _ = write!(io::stderr(), "{}", visible::lines(text));
}

/// Panics are said in the same way; not at all where they become errors, see [`guarded`].
pub(crate) fn say_panics_visibly() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = info.to_string();
        if guarded::is_active() {
            return;
        }
        match text.contains(|c| c != '\n' && visible::is_obeyed(c)) {
            true => note(text),
            false => usual(info),
        }
    }));
}

/// What the log is written to: each event is one message.
pub(crate) struct Log;

/// One event.
pub(crate) struct Event;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event
    }
}

impl Write for Event {
    // An event comes in one piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        note(String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_error_says_why() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let said = with_causes(&med2e3_store::FileError::of(Path::new("run/step-2"), "create")(refused));
        assert_eq!(said, "run/step-2: create failed: permission denied");
    }
}
