//! Memory that the device or the system refuses: an error with a hint, not a bug's panic.
//!
//! How much a step takes depends on sizes, batch and lengths together, and on what else runs on the device; so it can't be known
//! beforehand. libtorch says that it has no memory by an exception, which its Rust binding turns into a panic, and a backward pass
//! into an error.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

/// Runs a verb; a panic and an error that say that there is no memory become an error with this hint. Any other goes on.
pub(crate) fn refusal_with_hint<T>(hint: &str, verb: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if of_panic(info.payload()).is_none() {
            usual(info);
        }
    }));
    part_with_hint(hint, verb)
}

/// As [`refusal_with_hint`], for a part of a verb that runs in it: the rest of the verb goes on.
pub(crate) fn part_with_hint<T>(hint: &str, part: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let no_memory = |sentence: String| anyhow::anyhow!("no memory for a tensor: {sentence}\nhint: {hint}");
    match panic::catch_unwind(AssertUnwindSafe(part)) {
        Ok(Err(error)) => Err(of_error(&error).map_or(error, no_memory)),
        Ok(ending) => ending,
        Err(payload) => match of_panic(payload.as_ref()) {
            Some(sentence) => Err(no_memory(sentence)),
            None => panic::resume_unwind(payload),
        },
    }
}

/// The sentence of a panic that says that memory was refused.
fn of_panic(payload: &(dyn Any + Send)) -> Option<String> {
    refused(payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied())?)
}

/// The same of an error, if it is libtorch's.
fn of_error(error: &anyhow::Error) -> Option<String> {
    error.chain().map(ToString::to_string).filter(|text| text.contains("libtorch: ")).find_map(|text| refused(&text))
}

/// The sentence with words that say that memory was refused.
fn refused(text: &str) -> Option<String> {
    const WORDS: [&str; 4] =
        ["can't allocate memory", "out of memory", "bad_alloc", "Storage size calculation overflowed"];
    let at = WORDS.into_iter().filter_map(|words| text.find(words)).min()?;
    let start = text[..at].rfind(['\n', '"']).map_or(0, |before| before + 1);
    // A panic quotes libtorch's message, line breaks written as two characters.
    let sentence = text[start..].split(['\n', '"']).next().unwrap_or_default().split("\\n").next().unwrap_or_default();
    Some(sentence.trim().trim_start_matches("libtorch: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainerError;
    use crate::libtorch::{attach, backward};
    use tch::{Device, Kind, Tensor};

    fn large() -> Tensor {
        Tensor::zeros([1i64 << 40, 1 << 12], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn refused_memory_is_an_error_and_other_panics_go_on() {
        let error = refusal_with_hint("less", || Ok(large().size())).unwrap_err().to_string();
        assert!(error.contains("allocate memory") && error.ends_with("\nhint: less"), "{error}");
        assert_eq!(error.lines().count(), 2, "{error}");
        assert_eq!(refusal_with_hint("less", || Ok(3)).unwrap(), 3);
        let bug = panic::catch_unwind(|| refusal_with_hint::<()>("less", || panic!("a bug")));
        assert_eq!(bug.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    }

    #[test]
    fn memory_refused_in_a_backward_pass_has_the_hint_too() {
        let pass = |node: fn() -> Result<Tensor, crate::libtorch::LibtorchError>| {
            let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let y = attach(&x.detach(), &[&x], move |_| Ok(vec![Some(node()?)]))?;
            Ok(backward(&y.sum(Kind::Float)).map_err(TrainerError::from)?)
        };
        let refusing: [fn() -> Result<Tensor, crate::libtorch::LibtorchError>; 2] =
            [|| Ok(large()), || Ok(Tensor::f_zeros([1i64 << 40, 1 << 12], (Kind::Float, Device::Cpu))?)];
        for node in refusing {
            let error = refusal_with_hint("less", || pass(node)).unwrap_err().to_string();
            assert!(error.starts_with("no memory for a tensor: ") && error.ends_with("\nhint: less"), "{error}");
            assert!(error.contains("allocate memory") && error.lines().count() == 2, "{error}");
        }
        let other = refusal_with_hint("less", || pass(|| panic!("a bug"))).unwrap_err().to_string();
        assert_eq!(other, "libtorch: panic in a backward pass: a bug");
        let of_a_name = refusal_with_hint::<()>("less", || anyhow::bail!("out of memory.txt: no such file"));
        assert_eq!(of_a_name.unwrap_err().to_string(), "out of memory.txt: no such file");
    }

    #[test]
    fn a_message_of_a_card_is_cut_before_its_frames() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2 GiB.\\nException \
                    raised from malloc\\nframe #0\")";
        assert_eq!(refused(text).unwrap(), "CUDA out of memory. Tried to allocate 2 GiB.");
        assert_eq!(refused("libtorch: CUDA out of memory. Tried").unwrap(), "CUDA out of memory. Tried");
    }
}
