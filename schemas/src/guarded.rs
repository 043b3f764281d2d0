//! A library's panic on damaged bytes, turned into words.
//!
//! Libraries that read formats panic on some damage that they do not expect. What they were given is not used afterwards, so
//! such a panic is an error of the input. The programs' panic hook asks [`is_active`] and prints nothing then.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Calls a library; its panic comes back as its message.
///
/// # Errors
/// The message of a panic.
pub fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    // After a panic nothing that the call may have changed is used.
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    DEPTH.set(DEPTH.get() - 1);
    result.map_err(|panic| words(panic.as_ref()))
}

/// The message of a panic.
pub fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    words.unwrap_or("no message").to_owned()
}

/// From now on this thread's panics become errors where it is joined: for threads that a library alone works on.
pub fn expect_panics() {
    DEPTH.set(DEPTH.get() + 1);
}

/// Whether this thread's panics become errors.
pub fn is_active() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(is_active), Ok(true));
        let line = 3;
        assert_eq!(guarded::<()>(|| panic!("line {line}")), Err("line 3".into()));
        assert_eq!(guarded::<()>(|| panic!("word")), Err("word".into()));
        assert!(!is_active());
    }
}
