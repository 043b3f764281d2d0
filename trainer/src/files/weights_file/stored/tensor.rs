//! One tensor as a view into a file.

use std::ops::Range;

use super::ElementType;

/// More axes than any model's; libtorch itself stops at 64 in most operations.
const MOST_AXES: usize = 64;

/// The range of a tensor's bytes in a file. Its elements may have gaps between them, be in another order than the axes, or be
/// shared by several indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    element: ElementType,
    shape: Vec<i64>,
    strides: Vec<i64>,
    bytes: Range<usize>,
}

impl StoredTensor {
    /// A view into `storage`, a range of the file: `offset` is that of the first element and, like the strides, counts
    /// elements.
    ///
    /// # Errors
    /// What is wrong with the view: negative numbers, an element outside the storage, a size past 2^63.
    pub(super) fn view(
        element: ElementType,
        shape: Vec<i64>,
        strides: Vec<i64>,
        offset: i64,
        storage: Range<usize>,
    ) -> Result<StoredTensor, String> {
        if shape.len() != strides.len() || shape.len() > MOST_AXES {
            return Err(format!("{} sizes with {} strides", shape.len(), strides.len()));
        }
        if shape.iter().chain(&strides).chain([&offset]).any(|&number| number < 0) {
            return Err(format!("shape {shape:?}, strides {strides:?}, offset {offset}"));
        }
        // A zero among the sizes must not hide a product that libtorch can't represent.
        let product = shape.iter().try_fold(element.width() as i64, |product, &n| product.checked_mul(n.max(1)));
        product.ok_or_else(|| format!("shape {shape:?}, whose size does not fit 63 bits"))?;
        let available = storage.len() / element.width();
        let bytes = if shape.contains(&0) {
            storage.start..storage.start
        } else {
            let steps = shape.iter().zip(&strides).try_fold(offset, |last, (n, stride)| {
                (n - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
            });
            let last = steps.filter(|&last| (last as usize) < available).ok_or_else(|| {
                format!("shape {shape:?}, strides {strides:?}, offset {offset} in a storage of {available} elements")
            })?;
            let at = |index: i64| storage.start + index as usize * element.width();
            at(offset)..at(last) + element.width()
        };
        Ok(StoredTensor { element, shape, strides, bytes })
    }

    /// The type of the elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Elements from one index of an axis to the next, counted from the first of [`StoredTensor::bytes`].
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// The range in the file from the first to the last element; empty if there is none.
    pub fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }

    /// Number of bytes of all elements, one after the other.
    pub fn byte_len(&self) -> u64 {
        self.shape.iter().product::<i64>() as u64 * self.element.width() as u64
    }

    /// Whether the bytes are the elements in the order of the axes.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        let in_order = self.shape.iter().zip(&self.strides).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected *= n;
            fits
        });
        in_order || self.shape.contains(&0)
    }
}

/// Strides of elements in the order of the axes. An overflow saturates: such a shape is refused by its size.
pub(super) fn contiguous_strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[i64], strides: &[i64], offset: i64, storage: Range<usize>) -> Result<StoredTensor, String> {
        StoredTensor::view(ElementType::F32, shape.to_vec(), strides.to_vec(), offset, storage)
    }

    #[test]
    fn the_last_element_decides_whether_a_view_fits() {
        // Elements 2, 3, 4 of the first row and 7, 8, 9 of the second in a storage of ten.
        assert_eq!(view(&[2, 3], &[5, 1], 2, 100..140).unwrap().bytes(), 108..140);
        assert!(view(&[2, 3], &[5, 1], 3, 100..140).is_err());
        assert!(view(&[2, 3], &[5, 1], 2, 100..139).is_err());
        assert_eq!(view(&[], &[], 9, 100..140).unwrap().bytes(), 136..140);
        assert!(view(&[], &[], 10, 100..140).is_err());
        assert_eq!(view(&[1 << 40], &[0], 0, 0..4).unwrap().byte_len(), 1 << 42);
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        assert!(view(&[i64::MAX, 2], &[1, i64::MAX], 0, 0..4).is_err());
        assert!(view(&[0, i64::MAX, 4], &[1, 1, 1], 0, 0..0).is_err());
        assert!(view(&[2], &[1], i64::MAX, 0..64).is_err());
        assert!(view(&[-1], &[1], 0, 0..64).is_err());
        assert!(view(&[1], &[-1], 0, 0..64).is_err());
        assert!(view(&[1; 65], &[1; 65], 0, 0..64).is_err());
    }

    #[test]
    fn contiguous_order_is_recognized() {
        assert!(view(&[2, 3], &[3, 1], 1, 0..64).unwrap().is_contiguous());
        assert!(view(&[2, 1, 3], &[3, 77, 1], 0, 0..64).unwrap().is_contiguous());
        assert!(!view(&[3, 2], &[1, 3], 0, 0..64).unwrap().is_contiguous());
        assert!(!view(&[3], &[0], 0, 0..64).unwrap().is_contiguous());
        assert!(view(&[0, 2], &[1, 9], 0, 0..64).unwrap().is_contiguous());
        assert_eq!(contiguous_strides(&[2, 0, 3]), [3, 3, 1]);
    }
}
