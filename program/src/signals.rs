//! Signals: taken by one thread that does nothing else, never by a thread that computes.
//!
//! Compiled kernels (oneDNN's, which libtorch runs on a CPU) keep values below the stack pointer, where the system puts the frame
//! of a signal's handler: a handler on such a thread, whoever installed it, corrupts the numbers or the heap. What a
//! signal does stays as it was; only where it is taken changes.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

/// Signals that stay with the thread that causes them: faults of the program itself.
const FAULTS: [i32; 7] =
    [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGSYS, libc::SIGTRAP];

/// Blocks signals on this thread and all that it will start, and starts one thread that takes them. To be called before any
/// other thread is started.
///
/// A write beyond a limit on the size of files (`ulimit -f`) is an error then, which names the file, and no longer the end of
/// the program without a word.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn take_on_one_thread() -> io::Result<()> {
    let before = set_mask(&all_but_faults())?;
    let wait = move || {
        // What was blocked by whoever started the program stays blocked.
        if set_mask(&before).is_ok() {
            loop {
                thread::park();
            }
        }
    };
    thread::Builder::new().name("signals".into()).stack_size(256 << 10).spawn(wait)?;
    Ok(())
}

fn all_but_faults() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initializes the set that it is given, which `sigdelset` changes.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for fault in FAULTS {
            libc::sigdelset(set.as_mut_ptr(), fault);
        }
        set.assume_init()
    }
}

/// Sets which signals this thread does not take, and gives which it did not before.
fn set_mask(set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets live as long as the call, which initializes `before` where it gives 0.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::from_ref(set), before.as_mut_ptr()) } {
        // SAFETY: the call gave 0.
        0 => Ok(unsafe { before.assume_init() }),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}
