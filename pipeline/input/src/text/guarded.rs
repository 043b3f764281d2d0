//! A call into the library that may panic: its own regular expressions and tables do so on files and texts that no check has
//! foreseen.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught and becomes an error, so that it isn't printed.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What a call gives, or the words of its panic, which is then not printed. The process's panic hook stays in force for every
/// other panic.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() {
                usual(info);
            }
        }));
    });
    let outer = IS_GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    IS_GUARDED.set(outer);
    result.map_err(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("the tokenizer library panics: {words}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_words() {
        assert_eq!(guarded(|| 1), Ok(1));
        let inner = || guarded(|| panic!("at {}", 7));
        assert_eq!(guarded(inner).unwrap(), Err::<(), _>("the tokenizer library panics: at 7".to_owned()));
        assert!(!IS_GUARDED.get());
    }
}
