//! Prompts: caption instructions and the wording of multiple-choice questions.

/// Instructions for captions. Wordings of our own; M3D picks from a list of its own at random, here the row decides.
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

/// The caption instruction of a row, chosen by a stable hash of its key: the same on every machine and in every order.
pub fn caption_prompt(key: &[u8]) -> &'static str {
    // FNV-1a, folded so that the high half counts too.
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let folded = (hash ^ (hash >> 32)) as usize;
    CAPTION_PROMPTS[folded % CAPTION_PROMPTS.len()]
}

/// A closed question in M3D's wording: `{question} Choices: A. {a} B. {b} C. {c} D. {d}`.
pub fn closed_question(question: &str, choices: [&str; 4]) -> String {
    let [a, b, c, d] = choices;
    format!("{question} Choices: A. {a} B. {b} C. {c} D. {d}")
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
        let mut counts = HashMap::new();
        for row in 0..1600_u32 {
            *counts.entry(caption_prompt(&row.to_le_bytes())).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), CAPTION_PROMPTS.len());
        assert!(counts.values().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(caption_prompt(b"ct_case/000001"), caption_prompt(b"ct_case/000001"));
    }

    #[test]
    fn closed_wording_is_m3ds() {
        let question = closed_question("Which plane?", ["Axial", "Coronal", "Sagittal", "Oblique"]);
        assert_eq!(question, "Which plane? Choices: A. Axial B. Coronal C. Sagittal D. Oblique");
        assert_eq!(closed_answer("B", "Coronal"), "B. Coronal");
    }
}
