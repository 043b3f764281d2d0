//! A stranger's query on a stranger's dataset: bounded in length, memory and time.
//!
//! The engine runs on threads of its own, whose stacks hold the deepest plan that is let through, and this one watches: so even
//! a function that never comes back ends with the query.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use med2e3_program::Stopwatch;
use med2e3_program::machine::{cores, require_threads, resident_bytes};
use med2e3_schemas::guarded;
use tokio::task::JoinError;

use super::sql::{BatchSize, Catalog};
use crate::PrepareError;
use crate::show::cells::InHex;

/// What a query may take.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Bytes that the engine may hold; the process may have half as much again before it ends the query.
    pub memory_bytes: u64,
    /// Seconds.
    pub seconds: f64,
}

/// Characters of a query at most.
const MAX_CHARACTERS: usize = 1 << 17;

/// Words and signs of a query at most that may nest its plan by one level each; lists of values do not count.
const MAX_NESTING: usize = 1000;

/// Bytes of a thread's stack: a level of a plan takes up to 16 KiB where the engine is not optimized. The system gives memory
/// for what is used of it.
const STACK_BYTES: usize = 128 << 20;

/// Threads at most, for the sake of their stacks.
const MAX_THREADS: usize = 16;

/// How often the query is looked at while it gives no rows.
const LOOK: Duration = Duration::from_millis(5);

/// Runs a query and gives each batch to `show`, as `Catalog::show` does; cells of bytes become words, see [`InHex`].
///
/// # Errors
/// A query beyond the limits; what DataFusion says of it; the first error of `show`, after which the query is not run on.
pub fn query<E: From<PrepareError>>(
    root: &Path,
    query: &str,
    limits: QueryLimits,
    in_hex: InHex,
    mut show: impl FnMut(RecordBatch) -> Result<(), E>,
) -> Result<(), E> {
    check_length(query)?;
    let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let catalog = Catalog::open(root, BatchSize::Short, Some(memory))?;
    let threads = |source: std::io::Error| PrepareError::Threads { source: source.into() };
    let workers = cores().min(MAX_THREADS);
    require_threads(workers + 1).map_err(PrepareError::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(guarded::expect_panics)
        .build()
        .map_err(threads)?;
    let watch = Watch { limits, clock: Stopwatch::start(), before: resident_bytes() };
    let (to, from) = sync_channel(1);
    let text = query.to_owned();
    let task = runtime.spawn(async move {
        let gone = |_| PrepareError::Query { problem: "not run on".into() };
        catalog.show(&text, in_hex, |batch| to.send(batch).map_err(gone)).await
    });
    let ended = loop {
        match from.recv_timeout(LOOK) {
            Ok(batch) => {
                if let Err(error) = show(batch) {
                    break Err(error);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let ended = runtime.block_on(task).unwrap_or_else(|ended| Err(words_of(ended)));
                break ended.map_err(|error| with_hint(error).into());
            }
        }
        if let Err(error) = watch.look() {
            break Err(error.into());
        }
    };
    // A thread may be far from its next pause.
    runtime.shutdown_background();
    ended
}

/// The engine panics where a result is larger than its columns can be.
fn words_of(ended: JoinError) -> PrepareError {
    let words = ended.try_into_panic().map(|panic| guarded::words(panic.as_ref()));
    PrepareError::Query { problem: words.unwrap_or_else(|ended| ended.to_string()) }
}

/// Says how to give a query more where the engine's own account of memory ended it.
fn with_hint(error: PrepareError) -> PrepareError {
    match error {
        PrepareError::Query { problem } if problem.contains("Resources exhausted") => {
            PrepareError::Query { problem: format!("{problem}\nhint: --memory gives it more") }
        }
        other => other,
    }
}

/// Time and memory since the query began.
struct Watch {
    limits: QueryLimits,
    clock: Stopwatch,
    before: Option<u64>,
}

impl Watch {
    fn look(&self) -> Result<(), PrepareError> {
        let QueryLimits { memory_bytes, seconds } = self.limits;
        if self.clock.seconds() > seconds {
            let problem = format!("not done after {seconds} s\nhint: --timeout gives it more");
            return Err(PrepareError::Query { problem });
        }
        let grown = resident_bytes().zip(self.before).map_or(0, |(now, before)| now.saturating_sub(before));
        if grown > memory_bytes.saturating_add(memory_bytes / 2) {
            let mib = |bytes: u64| bytes >> 20;
            let problem = format!(
                "takes {} MiB, more than the {} MiB that it may\nhint: --memory gives it more",
                mib(grown),
                mib(memory_bytes)
            );
            return Err(PrepareError::Query { problem });
        }
        Ok(())
    }
}

/// Plans are built and walked by recursion: a query's depth is bounded before there is a plan.
fn check_length(query: &str) -> Result<(), PrepareError> {
    let refused =
        |expected: &str, found: usize| PrepareError::Query { problem: format!("expected {expected}, found {found}") };
    let characters = query.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(refused(&format!("at most {MAX_CHARACTERS} characters"), characters));
    }
    // What is no token is an error of the parser, in its words.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, query).tokenize() else { return Ok(()) };
    let nests = |token: &&Token| match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword && word.quote_style.is_none(),
        Token::Number(..)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::SemiColon
        | Token::SingleQuotedString(_) => false,
        _ => true,
    };
    let nesting = tokens.iter().filter(nests).count();
    if nesting > MAX_NESTING {
        let expected =
            format!("at most {MAX_NESTING} operators and keywords (a list `x IN (..)` may have more values)");
        return Err(refused(&expected, nesting));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_bounded_before_it_is_planned() {
        let said = |query: &str| check_length(query).err().map_or(String::new(), |error| error.to_string());
        assert_eq!(said("SELECT 1 WHERE 1=1 OR 2=2"), "");
        let list: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        assert_eq!(said(&format!("SELECT 1 WHERE 5 IN ({})", list.join(", "))), "");
        assert!(said(&format!("SELECT 1{}", "+1".repeat(5000))).contains("1000 operators and keywords"));
        assert!(said(&format!("SELECT 1 WHERE {}", vec!["1=1"; 5000].join(" OR "))).contains("found 10001"));
        assert!(said(&"x".repeat(200_000)).contains("131072 characters"));
    }
}
