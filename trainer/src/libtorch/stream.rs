//! Copies between host and device that nobody waits for. On the CPU there is nothing to copy, and each is the plain tensor.
//!
//! What runs on CUDA alone is exercised by `scripts/gpu-check.sh`.

use std::ffi::{c_int, c_void};
use std::ptr::{copy_nonoverlapping, null_mut};

use tch::{Device, Kind, Tensor};

use super::call::{LibtorchError, TensorPtr, check, pointer, take};

/// A `c10::Stream` that the caller owns.
type StreamPtr = *mut c_void;
/// A `c10::Event` that the caller owns.
type EventPtr = *mut c_void;

unsafe extern "C" {
    fn med2e3_upload(host: TensorPtr, index: c_int, out: *mut TensorPtr) -> c_int;
    fn med2e3_pinned(bytes: i64, index: c_int, out: *mut TensorPtr) -> c_int;
    fn med2e3_stream_open(index: c_int, out: *mut StreamPtr) -> c_int;
    fn med2e3_stream_close(stream: StreamPtr);
    fn med2e3_stream_upload(
        stream: StreamPtr,
        block: TensorPtr,
        bytes: i64,
        out: *mut TensorPtr,
        done: *mut EventPtr,
    ) -> c_int;
    fn med2e3_download(source: TensorPtr, out: *mut TensorPtr, done: *mut EventPtr) -> c_int;
    fn med2e3_event_wait(event: EventPtr) -> c_int;
    fn med2e3_event_close(event: EventPtr);
}

/// The number of a CUDA device; None on the CPU.
fn cuda_index(device: Device) -> Option<c_int> {
    if let Device::Cuda(index) = device { Some(index as c_int) } else { None }
}

/// A tensor of the CPU on a device. On CUDA by a copy from pinned memory that is queued behind what is computed there: the host
/// does not wait, and may change the tensor at once. On the CPU the tensor itself.
///
/// # Panics
/// libtorch refuses the memory.
pub fn upload(host: &Tensor, device: Device) -> Tensor {
    let Some(index) = cuda_index(device) else {
        return host.to_device(device);
    };
    let mut out: TensorPtr = null_mut();
    // SAFETY: one live tensor, borrowed for the call; `out` is written only on success, with a new tensor.
    unsafe { take(med2e3_upload(pointer(host), index, &mut out), out) }.expect("memory for a copy")
}

/// The moment when a copy is done.
#[derive(Debug)]
pub struct Event {
    /// Owned; null where there was nothing to wait for.
    event: EventPtr,
}

// SAFETY: a `c10::Event` belongs to no thread: the device's runtime lets any thread wait for it and close it.
unsafe impl Send for Event {}

impl Event {
    /// A moment that has passed.
    fn passed() -> Event {
        Event { event: null_mut() }
    }

    /// Waits for it.
    ///
    /// # Errors
    /// The device reports a failed computation.
    pub fn wait(&self) -> Result<(), LibtorchError> {
        // SAFETY: a live event that this value owns.
        if self.event.is_null() { Ok(()) } else { check(unsafe { med2e3_event_wait(self.event) }) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.event.is_null() {
            // SAFETY: an event that this value owns and nobody uses again.
            unsafe { med2e3_event_close(self.event) };
        }
    }
}

/// A stream of copies beside what a device computes; on the CPU there is none.
#[derive(Debug)]
pub struct CopyStream {
    /// Owned; null on the CPU.
    stream: StreamPtr,
    device: Device,
}

impl CopyStream {
    /// # Errors
    /// The device gives no stream.
    pub fn open(device: Device) -> Result<CopyStream, LibtorchError> {
        let mut stream: StreamPtr = null_mut();
        if let Some(index) = cuda_index(device) {
            // SAFETY: `stream` is written only on success, with a new stream.
            check(unsafe { med2e3_stream_open(index, &mut stream) })?;
        }
        Ok(CopyStream { stream, device })
    }

    /// Its device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// A block of so many bytes: pinned where copies go to another device.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn block(&self, bytes: usize) -> Result<HostBlock, LibtorchError> {
        let Some(index) = cuda_index(self.device) else {
            return Ok(HostBlock { bytes: Tensor::empty([bytes as i64], (Kind::Uint8, Device::Cpu)) });
        };
        let mut out: TensorPtr = null_mut();
        // SAFETY: `out` is written only on success, with a new tensor.
        let bytes = unsafe { take(med2e3_pinned(bytes as i64, index, &mut out), out) }?;
        Ok(HostBlock { bytes })
    }

    /// The first `bytes` of a block on the device, u8 (`bytes`), and when they are there. What is computed from now on starts
    /// behind the copy; the host does not wait. On the CPU it is the block's own memory.
    ///
    /// # Errors
    /// The device gives no memory.
    ///
    /// # Panics
    /// The block is smaller.
    pub fn upload(&self, block: &HostBlock, bytes: usize) -> Result<(Tensor, Event), LibtorchError> {
        assert!(bytes <= block.len(), "{bytes} bytes of {}", block.len());
        if self.stream.is_null() {
            return Ok((block.bytes.narrow(0, 0, bytes as i64), Event::passed()));
        }
        let (mut out, mut event): (TensorPtr, EventPtr) = (null_mut(), null_mut());
        // SAFETY: a live stream and a live tensor, borrowed for the call, which keeps its own references; both results are
        // written only on success, with a new tensor and a new event. The caller keeps the block until the event.
        let tensor = unsafe {
            let status = med2e3_stream_upload(self.stream, pointer(&block.bytes), bytes as i64, &mut out, &mut event);
            take(status, out)
        }?;
        Ok((tensor, Event { event }))
    }
}

impl Drop for CopyStream {
    fn drop(&mut self) {
        if !self.stream.is_null() {
            // SAFETY: a handle that this value owns and nobody uses again; the stream itself belongs to libtorch's pool.
            unsafe { med2e3_stream_close(self.stream) };
        }
    }
}

/// Host memory from which a copy is made. It must not be written again before the copy's event.
#[derive(Debug)]
pub struct HostBlock {
    /// u8, flat.
    bytes: Tensor,
}

impl HostBlock {
    /// Its bytes.
    pub fn len(&self) -> usize {
        self.bytes.numel()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes values as the machine stores them, from byte `at` on.
    ///
    /// # Panics
    /// They reach past the block's end.
    pub fn write<T: Plain>(&mut self, at: usize, values: &[T]) {
        let bytes = size_of_val(values);
        assert!(at.checked_add(bytes).is_some_and(|end| end <= self.len()), "{bytes} bytes at {at} of {}", self.len());
        // SAFETY: both ranges are live and of `bytes` bytes, as just checked; a flat tensor of bytes on the CPU is one range. They
        // can't overlap: the block's memory is lent to nobody as a slice. Any bytes of a `Plain` value may be read as bytes.
        unsafe {
            let target = self.bytes.data_ptr().cast::<u8>().add(at);
            copy_nonoverlapping(values.as_ptr().cast::<u8>(), target, bytes);
        }
    }
}

/// Numbers whose bytes are all initialized and mean the same to libtorch.
pub trait Plain: Copy + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($name:ty),+) => {
        $(impl sealed::Sealed for $name {}
        impl Plain for $name {})+
    };
}

plain!(u8, i16, i64, f32, bool);

/// A tensor on its way to the host.
#[derive(Debug)]
pub struct Download {
    tensor: Tensor,
    event: Event,
}

impl Download {
    /// Queues the copy behind what the tensor's device computes; the host does not wait. On the CPU it is a copy made at once.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn start(tensor: &Tensor) -> Result<Download, LibtorchError> {
        let tensor = tensor.detach();
        if cuda_index(tensor.device()).is_none() {
            return Ok(Download { tensor: tensor.copy(), event: Event::passed() });
        }
        let (mut out, mut event): (TensorPtr, EventPtr) = (null_mut(), null_mut());
        // SAFETY: one live tensor, borrowed for the call, whose memory libtorch keeps for the copy's stream; both results are
        // written only on success, with a new tensor and a new event.
        let tensor = unsafe { take(med2e3_download(pointer(&tensor), &mut out, &mut event), out) }?;
        Ok(Download { tensor, event: Event { event } })
    }

    /// Bytes of host memory that the copy of a tensor takes: pinned memory is given in powers of two.
    pub fn host_bytes(tensor: &Tensor) -> u64 {
        let bytes = (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        if cuda_index(tensor.device()).is_none() { bytes } else { bytes.next_power_of_two() }
    }

    /// The tensor on the CPU; waits for it, in any thread.
    ///
    /// # Errors
    /// The device reports a failed computation.
    pub fn finish(self) -> Result<Tensor, LibtorchError> {
        self.event.wait()?;
        Ok(self.tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_cpu_nothing_is_copied_and_nothing_is_waited_for() {
        let tensor = Tensor::from_slice(&[1i64, 2, 3]);
        assert_eq!(upload(&tensor, Device::Cpu).data_ptr(), tensor.data_ptr());
        let stream = CopyStream::open(Device::Cpu).unwrap();
        let mut block = stream.block(16).unwrap();
        block.write(0, &[7i64]);
        block.write(8, &[1.5f32, -2.0]);
        let (bytes, event) = stream.upload(&block, 16).unwrap();
        event.wait().unwrap();
        assert_eq!(bytes.narrow(0, 0, 8).view_dtype(Kind::Int64), Tensor::from_slice(&[7i64]));
        assert_eq!(bytes.narrow(0, 8, 8).view_dtype(Kind::Float), Tensor::from_slice(&[1.5f32, -2.0]));
    }

    #[test]
    fn a_download_is_what_the_tensor_was_when_it_started() {
        let mut tensor = Tensor::from_slice(&[1f64, 2.0]);
        assert_eq!(Download::host_bytes(&tensor), 16);
        let download = Download::start(&tensor).unwrap();
        let _ = tensor.zero_();
        let finished = std::thread::spawn(|| download.finish().unwrap()).join().unwrap();
        assert_eq!(finished, Tensor::from_slice(&[1f64, 2.0]));
    }

    #[test]
    #[should_panic(expected = "8 bytes at 12 of 16")]
    fn nothing_is_written_past_a_block() {
        CopyStream::open(Device::Cpu).unwrap().block(16).unwrap().write(12, &[1i64]);
    }
}
