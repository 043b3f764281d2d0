//! Prompts: caption instructions and the wording of multiple-choice questions.

use std::path::Path;

use super::encoding;
use super::template::{IMAGE2D_TOKEN, IMAGE3D_TOKEN};
use crate::error::InputError;
use crate::reading;

/// Default instructions for captions, in wordings of this project. M3D picks from another list at random; here the
/// row's key decides.
pub const CAPTION_PROMPTS: [&str; 16] = [
    "Write the findings of this CT scan.",
    "Report what this scan shows.",
    "What are the findings in this volume?",
    "Give a radiology report for this CT.",
    "State the abnormal and normal findings of this study.",
    "Describe this CT volume as a radiologist would.",
    "Please dictate the findings for this examination.",
    "List what can be seen in this series.",
    "Compose a findings section for this scan.",
    "Which findings does this examination reveal?",
    "Read this CT and report your observations.",
    "Can you describe the findings of this study?",
    "Provide a caption that covers the findings of this scan.",
    "Tell me what you see in this CT volume.",
    "Interpret this series and write down the findings.",
    "Please put the findings of this image into words.",
];

/// Maximum size of a prompt file in bytes; M3D's list has about 3 KB.
const MAX_BYTES: u64 = 1 << 20;

/// The caption instructions of a run: each row always gets the same one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionPrompts {
    prompts: Vec<String>,
}

impl Default for CaptionPrompts {
    /// [`CAPTION_PROMPTS`].
    fn default() -> CaptionPrompts {
        CaptionPrompts { prompts: CAPTION_PROMPTS.map(str::to_owned).to_vec() }
    }
}

impl CaptionPrompts {
    /// Reads a UTF-8 file with one prompt per line. Lines are trimmed and blank lines ignored; a repeated prompt is
    /// chosen more often.
    ///
    /// # Errors
    /// [`InputError::NotFound`], [`InputError::Unreadable`], [`InputError::TooLarge`] above 1 MiB,
    /// [`InputError::TextUnreadable`] for bytes that are not UTF-8, [`InputError::UnsupportedFormat`] for a file
    /// without a prompt or with an image mark in a prompt.
    pub fn load(path: &Path) -> Result<CaptionPrompts, InputError> {
        let text = reading::read_at_most(path, MAX_BYTES).map_err(|e| InputError::io(path, e))?;
        if text.len() as u64 > MAX_BYTES {
            let (path, found) = (path.to_owned(), text.len() as u64);
            return Err(InputError::TooLarge { path, expected: MAX_BYTES, found });
        }
        let text =
            encoding::utf8(text).map_err(|source| InputError::TextUnreadable { path: path.to_owned(), source })?;
        let lines = text.lines().map(encoding::trimmed);
        let prompts: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let unsupported =
            |expected, found: String| InputError::UnsupportedFormat { path: path.to_owned(), expected, found };
        if prompts.is_empty() {
            return Err(unsupported("a prompt on each line", "blank lines only".to_owned()));
        }
        let marked =
            prompts.iter().position(|prompt| [IMAGE3D_TOKEN, IMAGE2D_TOKEN].iter().any(|m| prompt.contains(m)));
        match marked {
            Some(number) => Err(unsupported("prompts without image marks", format!("one in prompt {}", number + 1))),
            None => Ok(CaptionPrompts { prompts }),
        }
    }

    /// The prompts in order.
    pub fn as_slice(&self) -> &[String] {
        &self.prompts
    }

    /// The instruction of a row, chosen by a stable hash of the row's key: it does not depend on the machine or the
    /// order of rows.
    pub fn pick(&self, key: &[u8]) -> &str {
        // FNV-1a, folded so that the upper half is used too.
        let hash = key
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        let folded = (hash ^ (hash >> 32)) as usize;
        &self.prompts[folded % self.prompts.len()]
    }
}

/// The letters of choices, in their order.
pub const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// A closed question in M3D's wording: `{question} Choices: A. {a} B. {b} C. {c} D. {d}`; with fewer choices where there are
/// fewer.
///
/// # Panics
/// With more choices than [`LETTERS`].
pub fn closed_question(question: &str, choices: &[&str]) -> String {
    assert!(choices.len() <= LETTERS.len(), "choices A to D");
    let choices = LETTERS.iter().zip(choices).map(|(letter, choice)| format!(" {letter}. {choice}"));
    format!("{question} Choices:{}", choices.collect::<String>())
}

/// The answer to a closed question in M3D's wording: `{letter}. {text}`; evaluation looks for `{letter}.`.
pub fn closed_answer(letter: &str, text: &str) -> String {
    format!("{letter}. {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn prompts_are_distinct_stable_and_all_used() {
        let prompts = CaptionPrompts::default();
        let mut counts = HashMap::new();
        for row in 0..1600_u32 {
            *counts.entry(prompts.pick(&row.to_le_bytes())).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), CAPTION_PROMPTS.len());
        assert!(counts.values().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(prompts.pick(b"ct_case/000001"), prompts.pick(b"ct_case/000001"));
    }

    #[test]
    fn a_file_gives_one_prompt_a_line_and_weights_by_repetition() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        std::fs::write(&path, "\u{feff}Describe.\r\n\n  Dites-moi tout. \nDescribe.\n").unwrap();
        let prompts = CaptionPrompts::load(&path).unwrap();
        assert_eq!(prompts.as_slice(), ["Describe.", "Dites-moi tout.", "Describe."]);
        let described = (0..3000_u32).filter(|row| prompts.pick(&row.to_le_bytes()) == "Describe.").count();
        assert!((1800..2200).contains(&described), "{described}");
    }

    #[test]
    fn files_without_usable_prompts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        let reason = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = CaptionPrompts::load(&path).unwrap_err();
            assert!(error.to_string().contains("prompts.txt"), "{error}");
            error.reason().as_str()
        };
        assert_eq!(reason(b" \n\n"), "unsupported_format");
        assert_eq!(reason(b"Describe.\n<image3d> Tell.\n"), "unsupported_format");
        assert_eq!(reason(&[0xff, 0xfe, b'a']), "text_unreadable");
        assert_eq!(reason(&vec![b'a'; MAX_BYTES as usize + 1]), "too_large");
        assert_eq!(CaptionPrompts::load(folder.path()).unwrap_err().reason().as_str(), "unreadable");
        let missing = CaptionPrompts::load(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.reason().as_str(), "not_found");
    }

    #[test]
    fn closed_questions_and_answers_have_m3ds_wording() {
        let question = closed_question("Which plane?", &["Axial", "Coronal", "Sagittal", "Oblique"]);
        assert_eq!(closed_question("Contrast?", &["yes", "no"]), "Contrast? Choices: A. yes B. no");
        assert_eq!(question, "Which plane? Choices: A. Axial B. Coronal C. Sagittal D. Oblique");
        assert_eq!(closed_answer("B", "Coronal"), "B. Coronal");
    }
}
