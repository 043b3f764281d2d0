//! Stages: what a reader is at, told to whoever measures; nothing here looks at a clock.

use std::cell::RefCell;
use std::rc::Rc;

/// What a reader is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Bytes of a file into memory. Every reading starts with it.
    Read,
    /// A gzip stream.
    Inflate,
    /// A picture, a byte order, a header: bytes to samples.
    Decode,
}

/// What is told of each stage that begins.
pub type Observer = Rc<dyn Fn(Stage)>;

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
}

/// Runs `work`, during which `observer` is called on this thread whenever a reader enters another stage.
pub fn observed<T>(observer: Observer, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Observer>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OBSERVER.set(self.0.take());
        }
    }
    let _restore = Restore(OBSERVER.replace(Some(observer)));
    work()
}

/// Says that the reader on this thread enters a stage.
pub(super) fn enter(stage: Stage) {
    if let Some(observer) = OBSERVER.with_borrow(Clone::clone) {
        observer(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_observer_hears_what_happens_within() {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let listener = heard.clone();
        enter(Stage::Inflate);
        observed(Rc::new(move |stage| listener.borrow_mut().push(stage)), || enter(Stage::Decode));
        enter(Stage::Read);
        assert_eq!(*heard.borrow(), [Stage::Decode]);
    }
}
