//! How much memory tensors hold.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use tch::Device;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_memory_counter(out: *mut *mut c_void) -> c_int;
    fn med2e3_memory_counter_read(counter: *const c_void, numbers: *mut i64);
    fn med2e3_memory_counter_reset_peak(counter: *mut c_void);
    fn med2e3_memory_counter_free(counter: *mut c_void);
    fn med2e3_device_memory(index: i64, numbers: *mut i64) -> c_int;
    fn med2e3_reset_device_peak(index: i64) -> c_int;
}

/// Counts the bytes of tensors from its making to its end, on any device: of those that the thread which made it allocates and
/// releases, and of those that its backward passes do, also on the threads of libtorch that run them on CUDA. A tensor from
/// before that is released meanwhile is not counted; other threads are not. A counter inside another one takes its place
/// until it ends.
pub struct MemoryCounter {
    counter: *mut c_void,
    /// It is installed in one thread and must end there.
    of_thread: PhantomData<*const ()>,
}

/// What a [`MemoryCounter`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedMemory {
    /// Bytes allocated and not released yet.
    pub current: i64,
    /// The most of them at one time.
    pub peak: i64,
    /// Allocations.
    pub count: i64,
}

impl MemoryCounter {
    /// Counts from now on.
    ///
    /// # Errors
    /// When there is no memory for the counter.
    pub fn start() -> Result<MemoryCounter, LibtorchError> {
        let mut counter = std::ptr::null_mut();
        // SAFETY: `counter` is written on success, with an object that `drop` frees once, on this thread.
        check(unsafe { med2e3_memory_counter(&mut counter) })?;
        Ok(MemoryCounter { counter, of_thread: PhantomData })
    }

    /// What it has seen so far.
    pub fn read(&self) -> CountedMemory {
        let mut numbers = [0; 3];
        // SAFETY: a live counter and as many numbers as are written.
        unsafe { med2e3_memory_counter_read(self.counter, numbers.as_mut_ptr()) };
        let [current, peak, count] = numbers;
        CountedMemory { current, peak, count }
    }

    /// From now on the peak is that of what follows.
    pub fn reset_peak(&mut self) {
        // SAFETY: a live counter.
        unsafe { med2e3_memory_counter_reset_peak(self.counter) };
    }
}

impl Drop for MemoryCounter {
    fn drop(&mut self) {
        // SAFETY: made by `start` on this thread, which the type can't leave.
        unsafe { med2e3_memory_counter_free(self.counter) };
    }
}

/// The memory of one GPU, in bytes: what this process's tensors hold, and what libtorch's allocator holds for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Held by tensors now.
    pub allocated: i64,
    /// The most since the start, or since the last [`reset_device_peak`].
    pub allocated_peak: i64,
    /// Taken from the device now.
    pub reserved: i64,
    /// The most of that, as `allocated_peak`.
    pub reserved_peak: i64,
}

/// What libtorch's allocator knows of a device; it waits for nothing.
///
/// # Errors
/// The device is no GPU, or libtorch finds none.
pub fn device_memory(device: Device) -> Result<DeviceMemory, LibtorchError> {
    let mut numbers = [0; 4];
    // SAFETY: as many numbers as are written.
    check(unsafe { med2e3_device_memory(index_of(device)?, numbers.as_mut_ptr()) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = numbers;
    Ok(DeviceMemory { allocated, allocated_peak, reserved, reserved_peak })
}

/// Makes the peaks of [`device_memory`] those of what follows.
///
/// # Errors
/// As [`device_memory`].
pub fn reset_device_peak(device: Device) -> Result<(), LibtorchError> {
    // SAFETY: takes a number.
    check(unsafe { med2e3_reset_device_peak(index_of(device)?) })
}

fn index_of(device: Device) -> Result<i64, LibtorchError> {
    match device {
        Device::Cuda(index) => Ok(index as i64),
        _ => Err(LibtorchError::of("only a GPU's memory is counted by its device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn a_counter_sees_what_is_held_the_peak_and_how_often() {
        let options = (Kind::Float, Device::Cpu);
        let before = Tensor::zeros([1 << 20], options);
        let mut counter = MemoryCounter::start().unwrap();
        assert_eq!(counter.read(), CountedMemory { current: 0, peak: 0, count: 0 });
        let held = Tensor::zeros([1024], options);
        drop(Tensor::zeros([4096], options));
        assert_eq!(counter.read(), CountedMemory { current: 4096, peak: 4096 * 5, count: 2 });
        counter.reset_peak();
        assert_eq!(counter.read().peak, 4096);
        // What others allocate, and what is older, is not counted.
        std::thread::spawn(move || drop((before, Tensor::zeros([1024], options)))).join().unwrap();
        assert_eq!(counter.read().current, 4096);

        // Gradients are.
        let weight = Tensor::zeros([2048], options).set_requires_grad(true);
        weight.square().sum(Kind::Float).backward();
        assert_eq!(counter.read().current, 4096 + 2 * 8192);
        drop((held, weight));
        assert_eq!(counter.read().current, 0);
        {
            let inner = MemoryCounter::start().unwrap();
            let _held = Tensor::zeros([1024], options);
            assert_eq!((inner.read().current, counter.read().current), (4096, 0));
        }
        assert!(device_memory(Device::Cpu).is_err() && reset_device_peak(Device::Cpu).is_err());
    }
}
