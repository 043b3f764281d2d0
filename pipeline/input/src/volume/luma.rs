//! Color to grey, as Pillow converts it.

/// Pillow's luminance (`L24` in its Convert.c), ITU-R 601-2 in 16-bit fixed point.
pub(super) fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::luma;

    #[test]
    fn luma_equals_pillow() {
        // Pillow 13: Image.new("RGB", (1, 1), color).convert("L").
        assert_eq!([luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)], [76, 150, 29]);
        assert_eq!([luma(255, 255, 255), luma(1, 2, 3), luma(200, 100, 50)], [255, 2, 124]);
    }
}
