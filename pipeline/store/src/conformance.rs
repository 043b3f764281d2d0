//! What every store must do. Each implementer's tests call [`check`]; a further store is right when it passes.

use std::thread;

use crate::store::{Commit, Store, get_whole};
use crate::{Entry, FileError};

/// Tries everything that [`Store`] promises on an empty store, and leaves it empty.
///
/// # Panics
/// The store breaks a promise; the message names it.
pub fn check(store: &dyn Store) {
    reads_and_writes(store);
    ranges(store);
    lists(store);
    commits(store);
    concurrent_writes(store);
    bad_paths(store);
    assert_eq!(store.list("").unwrap(), [], "every removed file is gone");
}

fn reads_and_writes(store: &dyn Store) {
    assert!(matches!(store.size("a/b"), Err(FileError::NotFound { .. })), "a file that was never written is not found");
    assert!(matches!(get_whole(store, "a/b"), Err(FileError::NotFound { .. })));
    store.put_whole("a/b", b"one").unwrap();
    assert_eq!(get_whole(store, "a/b").unwrap(), "one");
    store.put_whole("a/b", b"").unwrap();
    assert_eq!((store.size("a/b").unwrap(), get_whole(store, "a/b").unwrap().len()), (0, 0), "a file may be empty");
    // A folder is no file.
    assert!(matches!(store.size("a"), Err(FileError::NotFound { .. })), "a folder has no size");
    store.remove("a/b").unwrap();
    store.remove("a/b").unwrap();
    assert!(matches!(store.size("a/b"), Err(FileError::NotFound { .. })), "a removed file is not found");
}

fn ranges(store: &dyn Store) {
    store.put_whole("r", b"0123456789").unwrap();
    for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (10..10, ""), (0..0, "")] {
        assert_eq!(store.get_range("r", range.clone()).unwrap(), expected, "{range:?}");
    }
    let backwards = std::ops::Range { start: 5, end: 4 };
    for range in [0..11, 10..11, 11..11, backwards] {
        let error = store.get_range("r", range.clone()).unwrap_err();
        assert!(matches!(error, FileError::Range { bytes: 10, .. }), "{range:?}: {error}");
    }
    store.remove("r").unwrap();
}

fn lists(store: &dyn Store) {
    for path in ["l/b", "l/a/x", "l/a.txt", "lo", "k"] {
        store.put_whole(path, path.as_bytes()).unwrap();
    }
    let paths = |folder: &str| store.list(folder).unwrap().into_iter().map(|entry| entry.path).collect::<Vec<_>>();
    assert_eq!(paths("l"), ["l/a.txt", "l/a/x", "l/b"], "a folder's files, sorted, no other folder's");
    assert_eq!(paths(""), ["k", "l/a.txt", "l/a/x", "l/b", "lo"]);
    assert_eq!(store.list("l/a").unwrap(), [Entry { path: "l/a/x".into(), bytes: 5 }]);
    assert!(store.list("none").unwrap().is_empty(), "a folder that is not there has no files");
    for path in ["l/b", "l/a/x", "l/a.txt", "lo", "k"] {
        store.remove(path).unwrap();
    }
}

fn commits(store: &dyn Store) {
    assert_eq!(store.commit_if_absent("c/x", b"first").unwrap(), Commit::Done);
    assert_eq!(store.commit_if_absent("c/x", b"second").unwrap(), Commit::AlreadyThere);
    assert_eq!(get_whole(store, "c/x").unwrap(), "first", "a commit never replaces");
    store.remove("c/x").unwrap();
    let done: Vec<Commit> = thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| scope.spawn(move || store.commit_if_absent("c/x", writer.to_string().as_bytes()).unwrap()))
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect()
    });
    assert_eq!(done.iter().filter(|commit| **commit == Commit::Done).count(), 1, "one of several commits is done");
    let winner = done.iter().position(|commit| *commit == Commit::Done).map(|writer| writer.to_string());
    assert_eq!(get_whole(store, "c/x").unwrap(), winner.unwrap_or_default());
    store.remove("c/x").unwrap();
}

/// Readers see one whole file or another, never a mixture.
fn concurrent_writes(store: &dyn Store) {
    let contents = [b"a".repeat(50_000), b"b".repeat(70_000)];
    store.put_whole("w", &contents[0]).unwrap();
    thread::scope(|scope| {
        for text in &contents {
            scope.spawn(move || (0..20).for_each(|_| store.put_whole("w", text).unwrap()));
        }
        for _ in 0..40 {
            // Between the question for the size and the reading another file may have come.
            let read = match get_whole(store, "w") {
                Err(FileError::Range { .. }) => continue,
                read => read.unwrap(),
            };
            assert!(read.windows(2).all(|pair| pair[0] == pair[1]), "a reader saw two files at once");
        }
    });
    store.remove("w").unwrap();
}

fn bad_paths(store: &dyn Store) {
    for path in ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\\b"] {
        let errors = [
            store.get_range(path, 0..0).err(),
            store.size(path).err(),
            store.put_whole(path, b"x").err(),
            store.commit_if_absent(path, b"x").err(),
            store.remove(path).err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(FileError::Outside { .. })), "`{path}`: {error:?}");
        }
        assert!(path.is_empty() || matches!(store.list(path), Err(FileError::Outside { .. })), "`{path}` is listed");
    }
}
