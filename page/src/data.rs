//! Pictures within the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The bytes of a file as an address, with the file's media type, such as `image/png`.
pub fn data_address(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_in_the_standard() {
        // RFC 4648, section 10.
        assert_eq!(data_address("image/png", b"fooba"), "data:image/png;base64,Zm9vYmE=");
        assert_eq!(data_address("image/jpeg", &[0xff, 0xfe, 0xfd]), "data:image/jpeg;base64,//79");
    }
}
