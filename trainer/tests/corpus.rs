//! Every kept input of the fuzz targets `torch_weights` and `predictions`, read again; and files of predictions that are drawn here.

use med2e3_trainer::files::weights_file::stored;
use med2e3_trainer::predictions;
use proptest::prelude::*;

#[path = "../../fuzz/src/prediction_files.rs"]
pub mod prediction_files;
#[path = "../../fuzz/src/replay.rs"]
pub mod replay;
#[path = "../../fuzz/src/torch_weights.rs"]
pub mod torch_weights;

use replay::replay;

#[test]
fn every_kept_file_of_weights_is_read_or_refused() {
    replay("torch_weights", torch_weights::torch_weights);
}

#[test]
fn every_kept_file_of_predictions_is_read_or_refused() {
    replay("predictions", prediction_files::predictions_file);
}

proptest! {
    #[test]
    fn any_file_of_predictions_is_read_or_refused(
        format in 0..6_u8,
        parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..24),
    ) {
        prediction_files::predictions_file(&[&[format], parts.concat().as_bytes()].concat());
    }
}

/// What files of predictions are made of.
const PARTS: [&str; 25] = [
    "Question Type,Question,Answer,Pred\n",
    "Question,Ground Truth,Pred,belong_to\n",
    "Question Aspect,Question,Answer,Answer Choice,Pred,Correct\r\n",
    "id,prediction\n",
    "[{\"id\": \"a\", \"outputs\": \"b\", \"answers\": \"c\"}",
    "{\"id\": 1, \"prediction\": null}",
    "{\"sample_id\": \"a\", \"question\": \"b\", \"expected\": \"c\", \"answer\": \"d\"}\n",
    ",",
    ";",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "['",
    "\\x4",
    "'],",
    "1,Where?,left,right\n",
    "1,Where?,left,\n",
    "a,b,c,d,e,f\n",
    "<im_patch>",
    "nan",
    "\u{feff}",
    "]",
    "é肝",
    "end of the text",
];
