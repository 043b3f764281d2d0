//! A NIfTI file that tests write byte by byte.

/// A NIfTI-1 file of 2 x 3 x 4 voxels, value i + 10 j + 100 k, int16, LPS, 1 x 1 x 2.5 mm; tests change bytes of it.
pub(crate) fn sample_file() -> Vec<u8> {
    let mut file = vec![0; 352];
    put(&mut file, 0, &348_i32.to_le_bytes());
    for (n, dim) in [3_i16, 2, 3, 4, 1, 1, 1, 1].into_iter().enumerate() {
        put(&mut file, 40 + 2 * n, &dim.to_le_bytes());
    }
    put(&mut file, 70, &4_i16.to_le_bytes());
    put(&mut file, 72, &16_i16.to_le_bytes());
    floats(&mut file, 76, &[1.0, 1.0, 1.0, 2.5]);
    floats(&mut file, 108, &[352.0, 1.0, 0.0]);
    file[123] = 2;
    put(&mut file, 254, &1_i16.to_le_bytes());
    floats(&mut file, 280, &[-1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 2.5, 0.0]);
    put(&mut file, 344, b"n+1\0");
    for k in 0..4_i16 {
        for j in 0..3 {
            for i in 0..2 {
                file.extend((i + 10 * j + 100 * k).to_le_bytes());
            }
        }
    }
    file
}

/// Writes bytes at an offset.
pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes little-endian floats at an offset.
pub(crate) fn floats(file: &mut [u8], at: usize, values: &[f32]) {
    for (n, value) in values.iter().enumerate() {
        put(file, at + 4 * n, &value.to_le_bytes());
    }
}
