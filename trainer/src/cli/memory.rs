//! Memory that the device or the system refuses: an error with a hint, not a bug's panic.
//!
//! How much a step takes depends on sizes, batch and lengths together, and on what else runs on the device; so it can't be known
//! beforehand. libtorch says that it has no memory by an exception, which its Rust binding turns into a panic.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

/// Runs a verb; a panic that says that there is no memory becomes an error. Any other panic goes on.
pub(super) fn refusal_as_error<T>(verb: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if refused(info.payload()).is_none() {
            usual(info);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(verb)).unwrap_or_else(|payload| match refused(payload.as_ref()) {
        Some(message) => Err(anyhow::anyhow!(
            "no memory for a tensor: {message}\nhint: a smaller batch_size, shorter answers, or a smaller model"
        )),
        None => panic::resume_unwind(payload),
    })
}

/// The sentence of a panic that says that memory was refused.
fn refused(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())?;
    const WORDS: [&str; 4] =
        ["can't allocate memory", "out of memory", "bad_alloc", "Storage size calculation overflowed"];
    let at = WORDS.into_iter().filter_map(|words| text.find(words)).min()?;
    let start = text[..at].rfind(['\n', '"']).map_or(0, |before| before + 1);
    Some(text[start..].split(['\n', '"']).next().unwrap_or_default().replace("\\n", " ").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn refused_memory_is_an_error_and_other_panics_go_on() {
        let large = || Ok(Tensor::zeros([1i64 << 40, 1 << 12], (Kind::Float, Device::Cpu)).size());
        let error = refusal_as_error(large).unwrap_err().to_string();
        assert!(error.contains("allocate memory") && error.contains("hint") && error.lines().count() == 2, "{error}");
        assert_eq!(refusal_as_error(|| Ok(3)).unwrap(), 3);
        let bug = panic::catch_unwind(|| refusal_as_error::<()>(|| panic!("a bug")));
        assert_eq!(bug.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    }
}
