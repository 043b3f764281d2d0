//! Scrubbing on arbitrary bytes: as a file of rules, and as a report that the built-in rules scrub.

use std::fs;
use std::path::Path;

use med2e3_input::text::Scrubber;

/// Reads the bytes as a rules file and scrubs texts by it; scrubs the bytes themselves by the built-in rules.
pub fn scrub(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("rules.txt");
    fs::write(&path, bytes).expect("a file can be written");
    let text = String::from_utf8_lossy(bytes);
    match Scrubber::load(&path) {
        Err(error) => assert!(error.to_string().contains("rules.txt"), "{error}"),
        Ok(scrubber) => {
            let again = Scrubber::of_rules(scrubber.rules(), Path::new("rules.txt")).expect("rules that were read");
            assert_eq!(again.rules(), scrubber.rules());
            for text in ["", "Patient Müller, 12.03.2021, MRN 12345 患者：李雷", &text] {
                assert_eq!(again.scrub(text), scrubber.scrub(text));
            }
        }
    }
    thread_local! {
        static BUILT_IN: Scrubber = Scrubber::built_in();
    }
    BUILT_IN.with(|scrubber| {
        let once = scrubber.scrub(&text);
        assert!(scrubber.find(&once.text).is_empty(), "{}", once.text);
        assert_eq!(once.counts.is_empty(), once.text == text);
    });
}
