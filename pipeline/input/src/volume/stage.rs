//! Stages: what a reader is doing, reported to an observer, which may measure time; this crate reads no clock.

use std::cell::RefCell;
use std::rc::Rc;

/// What a reader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading a file into memory. It is the first stage of every volume and is not reported then.
    Read,
    /// Decompressing a gzip stream.
    Inflate,
    /// Turning bytes into samples: headers, byte order, compressed images.
    Decode,
}

/// Is called with each stage when it begins, on the thread that reads.
pub type StageObserver = Rc<dyn Fn(Stage)>;

thread_local! {
    static OBSERVER: RefCell<Option<StageObserver>> = const { RefCell::new(None) };
}

/// Runs `work`, during which `observer` is called whenever a reader on this thread enters a stage. Calls may be nested;
/// the innermost observer is called.
pub fn with_stage_observer<T>(observer: StageObserver, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<StageObserver>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OBSERVER.set(self.0.take());
        }
    }
    let _restore = Restore(OBSERVER.replace(Some(observer)));
    work()
}

/// Reports that the reader on this thread enters a stage.
pub(super) fn enter(stage: Stage) {
    if let Some(observer) = OBSERVER.with_borrow(Clone::clone) {
        observer(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_observer_is_called_only_during_the_work() {
        let stages = Rc::new(RefCell::new(Vec::new()));
        let observed = stages.clone();
        enter(Stage::Inflate);
        with_stage_observer(Rc::new(move |stage| observed.borrow_mut().push(stage)), || enter(Stage::Decode));
        enter(Stage::Read);
        assert_eq!(*stages.borrow(), [Stage::Decode]);
    }
}
