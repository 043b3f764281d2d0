//! What a step takes to the device, and what it brings back, without a wait.
//!
//! The arrays of a micro-batch go to the device as one block in one copy on a stream of its own, while the device still computes
//! the micro-batch before. Two blocks take turns: one is filled while the other may still be read. The numbers of a step come back
//! one step later, when they have long arrived.

use tch::{Device, Kind, Tensor};

use crate::host_array::HostArray;
use crate::libtorch::{CopyStream, Download, Event, HostBlock, LibtorchError};

/// Blocks that take turns.
const BLOCKS: usize = 2;
/// Where an array may begin: a line of the host's cache, and what a GPU reads at once.
const ALIGNMENT: usize = 128;

/// An array and the shape that it gets.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Its values.
    pub array: HostArray<'a>,
    /// At most one axis is -1: what is left.
    pub shape: Vec<i64>,
}

/// Brings arrays to a device.
#[derive(Debug)]
pub struct Staging {
    stream: CopyStream,
    /// Each with the moment from which it may be written again; the first is the next to be filled.
    blocks: [Option<(HostBlock, Event)>; BLOCKS],
}

impl Staging {
    /// # Errors
    /// The device gives no stream.
    pub fn new(device: Device) -> Result<Staging, LibtorchError> {
        Ok(Staging { stream: CopyStream::open(device)?, blocks: [None, None] })
    }

    /// The parts as tensors on the device, in their order. What is computed from now on starts behind the copy; the host waits
    /// only for the last but one copy, which a computation since has needed. On the CPU the parts are copied once, as they are.
    ///
    /// # Errors
    /// The system gives no memory; the device reports a failed computation.
    ///
    /// # Panics
    /// A shape has another number of elements than its array.
    pub fn upload(&mut self, parts: &[Part]) -> Result<Vec<Tensor>, LibtorchError> {
        let (places, bytes) = layout(parts.iter().map(|part| part.array.bytes()));
        let mut block = self.free_block(bytes)?;
        for (part, at) in parts.iter().zip(&places) {
            part.array.write(&mut block, *at);
        }
        let (copied, event) = self.stream.upload(&block, bytes)?;
        let tensors = parts.iter().zip(places).map(|(part, at)| {
            let kind = part.array.kind();
            copied.narrow(0, at as i64, part.array.bytes() as i64).view_dtype(kind).view(part.shape.as_slice())
        });
        let tensors = tensors.collect();
        if self.stream.device() != Device::Cpu {
            self.blocks.rotate_left(1);
            self.blocks[BLOCKS - 1] = Some((block, event));
        }
        Ok(tensors)
    }

    /// A block that nothing reads any more. On the CPU a new one each time: the tensors are its memory.
    fn free_block(&mut self, bytes: usize) -> Result<HostBlock, LibtorchError> {
        if let Some((block, event)) = self.blocks[0].take() {
            // Long done where the device keeps up: it has begun what came behind this copy.
            event.wait()?;
            if block.len() >= bytes {
                return Ok(block);
            }
        }
        // Room for a somewhat larger micro-batch, so that few sizes are asked for.
        let room = if self.stream.device() == Device::Cpu { bytes } else { bytes + bytes / 4 };
        self.stream.block(room)
    }
}

/// Where each part begins, and where the last one ends.
fn layout(sizes: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut end = 0;
    let places = sizes.map(|bytes| {
        let at = usize::next_multiple_of(end, ALIGNMENT);
        end = at + bytes;
        at
    });
    (places.collect(), end)
}

/// Numbers of a device that are read one step later.
#[derive(Debug, Default)]
pub struct ScalarRing {
    /// Those of the step before.
    arriving: Option<Download>,
}

impl ScalarRing {
    /// Sends the numbers of a step, scalars and rows of numbers of one device, on their way to the host, and returns those that were
    /// sent before, in their order; none the first time.
    ///
    /// # Errors
    /// The system gives no memory; the device reports a failed computation.
    pub fn push(&mut self, numbers: &[&Tensor]) -> Result<Option<Vec<f64>>, LibtorchError> {
        let flat: Vec<Tensor> =
            numbers.iter().map(|numbers| numbers.detach().view([-1]).to_kind(Kind::Double)).collect();
        let next = Download::start(&Tensor::cat(&flat, 0))?;
        self.arriving.replace(next).map(values).transpose()
    }

    /// The numbers that were sent last; waits for them. None where they were taken already.
    ///
    /// # Errors
    /// The device reports a failed computation.
    pub fn take(&mut self) -> Result<Option<Vec<f64>>, LibtorchError> {
        self.arriving.take().map(values).transpose()
    }
}

fn values(arrived: Download) -> Result<Vec<f64>, LibtorchError> {
    Ok(Vec::try_from(arrived.finish()?).expect("a flat f64 tensor on the CPU"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::HostReads;

    #[test]
    fn parts_arrive_as_what_they_were() {
        let mut staging = Staging::new(Device::Cpu).unwrap();
        for round in 0..5i64 {
            let ids: Vec<i64> = (0..7).map(|id| id - 3 * round).collect();
            let weights = [0.5f32, -1.5, round as f32];
            let mask = [true, false, true, true];
            let codes = [1u8, 2, 3, 250, round as u8, 0];
            let numbers: Vec<u8> = [-2i16, 300].iter().flat_map(|number| number.to_le_bytes()).collect();
            let parts = [
                Part { array: HostArray::Codes(&codes, Kind::Uint8), shape: vec![1, 1, 1, 2, 3] },
                Part { array: HostArray::I64(&ids), shape: vec![7] },
                Part { array: HostArray::Bool(&mask), shape: vec![2, -1] },
                Part { array: HostArray::F32(&weights), shape: vec![3] },
                Part { array: HostArray::I64(&[]), shape: vec![0] },
                Part { array: HostArray::Codes(&numbers, Kind::Int16), shape: vec![2] },
            ];
            let found = staging.upload(&parts).unwrap();
            let expected = [
                Tensor::from_slice(&codes).view([1, 1, 1, 2, 3]),
                Tensor::from_slice(&ids),
                Tensor::from_slice(&mask).view([2, 2]),
                Tensor::from_slice(&weights),
                Tensor::from_slice::<i64>(&[]),
                Tensor::from_slice(&[-2i16, 300]),
            ];
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!((found.kind(), found.size()), (expected.kind(), expected.size()));
                assert!(found.equal(expected));
            }
        }
    }

    #[test]
    fn tensors_of_one_upload_outlive_the_next_ones() {
        let mut staging = Staging::new(Device::Cpu).unwrap();
        let mut upload = |value: f32| {
            let values = [value; 9];
            staging.upload(&[Part { array: HostArray::F32(&values), shape: vec![9] }]).unwrap().remove(0)
        };
        let uploaded: Vec<Tensor> = (0..4).map(|value| upload(value as f32)).collect();
        for (value, tensor) in uploaded.iter().enumerate() {
            assert_eq!(Vec::<f32>::try_from(tensor).unwrap(), [value as f32; 9]);
        }
    }

    #[test]
    fn every_part_begins_on_a_line_of_its_own() {
        assert_eq!(layout([1, 128, 0, 129, 4].into_iter()), (vec![0, 128, 256, 256, 512], 516));
        assert_eq!(layout([].into_iter()), (vec![], 0));
    }

    #[test]
    fn numbers_come_back_one_step_later_and_none_is_read_on_the_way() {
        let mut ring = ScalarRing::default();
        let reads = HostReads::start().unwrap();
        let mut loss = Tensor::from_slice(&[0.25f32]).squeeze();
        let count = Tensor::from_slice(&[7i64]);
        assert_eq!(ring.push(&[&loss, &count]).unwrap(), None);
        // The tensor may be overwritten by the next step.
        let _ = loss.fill_(4.0);
        assert_eq!(ring.push(&[&loss]).unwrap(), Some(vec![0.25, 7.0]));
        assert_eq!(ring.take().unwrap(), Some(vec![4.0]));
        assert_eq!(ring.take().unwrap(), None);
        assert_eq!(reads.count(), 0);
    }
}
