//! Every kept input of the fuzz targets `texts` and `wordnet`, tried again; and texts that are drawn here.

use proptest::prelude::*;

#[path = "../../fuzz/src/replay.rs"]
pub mod replay;
#[path = "../../fuzz/src/scored_texts.rs"]
pub mod scored_texts;
#[path = "../../fuzz/src/wordnet_folder.rs"]
pub mod wordnet_folder;

use replay::replay;

#[test]
fn every_kept_pair_of_texts_is_scored() {
    replay("texts", scored_texts::scored_texts);
}

#[test]
fn every_kept_folder_of_wordnet_is_refused() {
    replay("wordnet", wordnet_folder::wordnet_folder);
}

proptest! {
    #[test]
    fn any_texts_are_scored(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..40)) {
        scored_texts::scored_texts(parts.concat().as_bytes());
    }

    #[test]
    fn any_bytes_are_scored(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        scored_texts::scored_texts(&bytes);
    }

    #[test]
    fn any_files_of_wordnet_are_refused(parts in prop::collection::vec(prop::sample::select(&LINES[..]), 0..24)) {
        wordnet_folder::wordnet_folder(parts.concat().as_bytes());
    }
}

/// What the rules of words, sentences and choices look at.
const PARTS: [&str; 44] = [
    " ",
    "\n",
    "\t",
    ".",
    "...",
    ",",
    ";",
    ":",
    "?",
    "!",
    "--",
    "\u{2014}",
    "\"",
    "''",
    "``",
    "\u{201c}",
    "\u{2019}",
    "'s",
    "n't",
    "cannot",
    "gonna",
    "Dr.",
    "e.g.",
    "p.m.",
    "1.5",
    "1,000",
    "50%",
    "$",
    "#",
    "&",
    "&quot;",
    "(",
    ")",
    "[",
    "]",
    "A",
    "b.",
    "The answer is",
    "left",
    "\u{0130}",
    "\u{df}",
    "\u{809d}",
    "\u{a0}",
    "|",
];

/// What WordNet's files are made of.
const LINES: [&str; 9] = [
    "  1 WordNet 3.0 Copyright 2006 by Princeton University.\n",
    "  1 WordNet 3.0 Copyright",
    "  2\n",
    "00000000 03 n 01 entity 0 000 | what is  \n",
    "00000054 03 n ffffffff entity 0",
    "entity n 1 0 1 0 00000000  \n",
    "entities entity\n",
    "\n",
    "\0",
];
