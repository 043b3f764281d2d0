//! An autograd node whose backward is a Rust closure, and backward passes that return their errors.

use std::any::Any;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, give, pointer, take};

/// What a backward pass asks of a node.
pub struct Behind<'a> {
    /// The gradient that arrives at the node's value.
    pub grad: &'a Tensor,
    /// For each input, whether this pass needs its gradient.
    pub is_needed: &'a [bool],
}

/// Computes the gradients of a node's inputs, as many as inputs; None for one that is not needed or is stored already.
type Closure = Box<dyn FnMut(&Behind) -> Result<Vec<Option<Tensor>>, LibtorchError> + Send>;

unsafe extern "C" {
    fn med2e3_attach(
        value: TensorPtr,
        inputs: *const TensorPtr,
        count: usize,
        closure: *mut c_void,
        call: unsafe extern "C" fn(*mut c_void, TensorPtr, *const bool, *mut TensorPtr, usize) -> c_int,
        drop: unsafe extern "C" fn(*mut c_void),
        out: *mut TensorPtr,
    ) -> c_int;
    fn med2e3_backward(result: TensorPtr, grad: TensorPtr) -> c_int;
    fn med2e3_set_last_error(message: *const c_char);
}

/// The tensor `value`, computed without a graph, as the result of a function of `inputs` whose gradients `backward` computes,
/// itself without a graph. The result shares the value's memory. Where nothing needs a gradient it is for the caller not to
/// call this: the node would hold `backward` for nothing.
///
/// `backward` runs on the thread that runs the backward pass: the caller's on the CPU, one of libtorch's own on CUDA. It is
/// dropped after it ran, or with the graph. An error that it returns, and a panic in it, are errors of the backward pass.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn attach(
    value: &Tensor,
    inputs: &[&Tensor],
    backward: impl FnMut(&Behind) -> Result<Vec<Option<Tensor>>, LibtorchError> + Send + 'static,
) -> Result<Tensor, LibtorchError> {
    let closure: Box<Closure> = Box::new(Box::new(backward));
    let inputs: Vec<TensorPtr> = inputs.iter().map(|input| pointer(input)).collect();
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: live tensors, borrowed for the call; the closure is given away, to be dropped once by `drop_closure`, also on
    // failure; `out` is written only on success, with a new tensor.
    unsafe {
        let closure = Box::into_raw(closure).cast();
        let (call, drop) = (call_closure, drop_closure);
        let status = med2e3_attach(pointer(value), inputs.as_ptr(), inputs.len(), closure, call, drop, &mut out);
        take(status, out)
    }
}

/// Adds the gradients of the scalar `loss` to those of the weights that it depends on.
///
/// # Errors
/// The loss depends on no weight, a node failed, or the graph was freed by an earlier pass.
pub fn backward(loss: &Tensor) -> Result<(), LibtorchError> {
    // SAFETY: one live tensor, borrowed for the call.
    check(unsafe { med2e3_backward(pointer(loss), std::ptr::null_mut()) })
}

/// The same for a result of any shape at which the gradient `grad` arrives. May be called from a node's closure.
///
/// # Errors
/// As [`backward`], or when the gradient has another shape than the result.
pub fn backward_from(result: &Tensor, grad: &Tensor) -> Result<(), LibtorchError> {
    // SAFETY: two live tensors, borrowed for the call.
    check(unsafe { med2e3_backward(pointer(result), pointer(grad)) })
}

/// # Safety
/// `closure` is a closure of [`attach`] that is not dropped and that no other thread uses; `grad` is a tensor made with `new`
/// that nothing else owns; `is_needed` and `results` have `count` entries.
unsafe extern "C" fn call_closure(
    closure: *mut c_void,
    grad: TensorPtr,
    is_needed: *const bool,
    results: *mut TensorPtr,
    count: usize,
) -> c_int {
    // SAFETY: by this function's contract; from_ptr takes the ownership of the tensor.
    let (closure, grad, is_needed, results) = unsafe {
        (
            &mut *closure.cast::<Closure>(),
            Tensor::from_ptr(grad.cast()),
            std::slice::from_raw_parts(is_needed, count),
            std::slice::from_raw_parts_mut(results, count),
        )
    };
    let run = AssertUnwindSafe(|| closure(&Behind { grad: &grad, is_needed }));
    let message = match catch_unwind(run) {
        Ok(Ok(grads)) if grads.len() == count => {
            for (result, grad) in results.iter_mut().zip(grads) {
                *result = grad.map_or(std::ptr::null_mut(), give);
            }
            return 0;
        }
        Ok(Ok(grads)) => format!("a node of {count} inputs has {} gradients", grads.len()),
        Ok(Err(error)) => error.message().to_owned(),
        Err(panic) => format!("panic in a backward pass: {}", text_of(panic.as_ref())),
    };
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: a NUL-terminated string, copied by the call.
    unsafe { med2e3_set_last_error(message.as_ptr()) };
    -1
}

/// # Safety
/// `closure` is a closure of [`attach`] that is not dropped.
unsafe extern "C" fn drop_closure(closure: *mut c_void) {
    // SAFETY: by this function's contract made by Box::into_raw. A panic must not cross into C++.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(closure.cast::<Closure>()) })));
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    // libtorch appends a C++ backtrace from the second line on.
    text.or_else(|| panic.downcast_ref::<&str>().copied()).and_then(|text| text.lines().next()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tch::{Device, Kind, no_grad, with_grad};

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn leaf(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, OPTIONS).set_requires_grad(true)
    }

    /// The cube of x by a node.
    fn cube(x: &Tensor) -> Tensor {
        let value = no_grad(|| x * x * x);
        let saved = x.detach();
        attach(&value, &[x], move |behind| Ok(vec![Some(behind.grad * (&saved * &saved * 3.0))])).unwrap()
    }

    #[test]
    fn gradients_of_a_node_are_those_of_its_function() {
        let x = leaf(&[3, 4]);
        let y = cube(&x);
        assert!(y.requires_grad() && !y.is_leaf());
        backward(&(y.sin() * &x).sum(Kind::Float)).unwrap();
        let naive = x.detach().set_requires_grad(true);
        backward(&((&naive * &naive * &naive).sin() * &naive).sum(Kind::Float)).unwrap();
        assert!((x.grad() - naive.grad()).abs().max().double_value(&[]) < 1e-5);
    }

    /// What a block that is made again does: its own backward pass from inside the outer one.
    #[test]
    fn a_closure_may_run_a_backward_pass_of_its_own() {
        let (x, weight) = (leaf(&[5]), leaf(&[5]));
        let function = |x: &Tensor, weight: &Tensor| (x * weight).tanh();
        let value = no_grad(|| function(&x, &weight));
        let (saved, held) = (x.detach(), weight.shallow_clone());
        let y = attach(&value, &[&x], move |behind| {
            let input = saved.detach().set_requires_grad(true);
            let again = with_grad(|| function(&input, &held));
            backward_from(&again, behind.grad)?;
            Ok(vec![Some(input.grad())])
        });
        backward(&y.unwrap().square().sum(Kind::Float)).unwrap();
        let (plain_x, plain_weight) = (x.detach().set_requires_grad(true), weight.detach().set_requires_grad(true));
        backward(&function(&plain_x, &plain_weight).square().sum(Kind::Float)).unwrap();
        assert!(x.grad() == plain_x.grad() && weight.grad() == plain_weight.grad());
    }

    #[test]
    fn errors_and_panics_in_a_closure_are_errors_of_the_pass() {
        let x = leaf(&[2]);
        let fail = |backward: fn() -> Result<Vec<Option<Tensor>>, LibtorchError>| {
            let y = attach(&x.detach(), &[&x], move |_| backward()).unwrap();
            super::backward(&y.sum(Kind::Float)).unwrap_err().to_string()
        };
        let misfit = || Tensor::zeros([2, 2], OPTIONS).f_matmul(&Tensor::zeros([3, 2], OPTIONS));
        let found = fail(|| Err(LibtorchError::of("no gradient here")));
        assert_eq!(found, "libtorch: no gradient here");
        assert_eq!(fail(|| panic!("a planted {}", "panic")), "libtorch: panic in a backward pass: a planted panic");
        assert_eq!(fail(|| Ok(Vec::new())), "libtorch: a node of 1 inputs has 0 gradients");
        assert!(misfit().is_err());
        let found = fail(|| Ok(vec![Some(Tensor::zeros([3], OPTIONS))]));
        assert!(found.contains("invalid gradient") && found.contains("[3]"), "{found}");
        // The thread can still run a backward pass.
        backward(&cube(&x).sum(Kind::Float)).unwrap();
        assert!(x.grad().defined());
        assert!(backward(&Tensor::zeros([0i64; 0].as_slice(), OPTIONS)).is_err());
    }

    /// Counts how often it is dropped.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_closure_is_dropped_once_after_its_pass_or_with_the_graph() {
        let drops = Arc::new(AtomicUsize::new(0));
        let x = leaf(&[2]);
        let node = || {
            let (value, held) = (x.detach(), Counted(Arc::clone(&drops)));
            // It holds the value that the result is made of, which must not keep the graph alive.
            let saved = value.shallow_clone();
            attach(&value, &[&x], move |behind| {
                let _ = &held;
                Ok(vec![Some(behind.grad * &saved)])
            })
            .unwrap()
        };
        let y = node();
        let loss = y.sum(Kind::Float);
        backward(&loss).unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        let error = backward(&y.sum(Kind::Float)).unwrap_err().to_string();
        assert!(error.contains("second backward pass"), "{error}");
        drop(node());
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    }

    /// A result may be used twice, or need no input's gradient while a weight inside it does.
    #[test]
    fn a_node_without_trained_inputs_still_runs() {
        let (x, ran) = (Tensor::ones([2], OPTIONS), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&ran);
        let y = attach(&x.copy(), &[&x], move |behind| {
            assert_eq!(behind.is_needed, [false]);
            seen.store(behind.grad.sum(Kind::Float).double_value(&[]) as usize, Ordering::Relaxed);
            Ok(vec![None])
        })
        .unwrap();
        backward(&(&y + &y * 2.0).sum(Kind::Float)).unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 6);
    }
}
