//! The CSV files of M3D's `eval_caption.py` and `eval_vqa.py`, and of Med3DVLM's scripts, which have the same columns: `Question,
//! Ground Truth, pred` of captions; `Question Type, Question, Answer, Pred` of open questions, with `Answer Choice` of closed ones.
//! Scores in further columns are computed anew. Rows have no id.

use med2e3_schemas::sample::Task;

use super::table::Table;
use super::{Predictions, Unread};

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let table = Table::of(text)?;
    let (task, expected) = match () {
        () if table.has("Ground Truth") => (Task::Caption, "Ground Truth"),
        () if table.has("Answer Choice") => (Task::ClosedVqa, "Answer"),
        () => (Task::OpenVqa, "Answer"),
    };
    table.predictions(Some(task), expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_tell_the_task() {
        let caption = "Question,Ground Truth,pred,bleu,rouge1,meteor,bert_f1\r\n<im_patch>Describe.,\"A disc.\r\nNo cyst.\",A disc,0.5,0,0,0\r\n";
        let open = "Question Type,Question,Answer,Pred,bleu\n1,<im_patch> Where?,left,right,0\n";
        let closed = "Question Type,Question,Answer,Answer Choice,Pred,Correct\n1,Where?,A. left,A,,0\n";
        let found = [caption, open, closed].map(|text| {
            let Predictions { rows, task, question, expected } = read(text).unwrap();
            let row = rows.into_iter().next().unwrap();
            assert_eq!((row.id, question), (None, "Question"));
            (task.unwrap(), expected, row.question.unwrap(), row.expected.unwrap(), row.answer)
        });
        let text = |text: &str| text.to_owned();
        let expected = [
            (
                Task::Caption,
                "Ground Truth",
                text("<im_patch>Describe."),
                text("A disc.\r\nNo cyst."),
                Some(text("A disc")),
            ),
            (Task::OpenVqa, "Answer", text("<im_patch> Where?"), text("left"), Some(text("right"))),
            (Task::ClosedVqa, "Answer", text("Where?"), text("A. left"), None),
        ];
        assert_eq!(found, expected);
        let said = read("Question,Ground Truth,prediction\n").unwrap_err().to_string();
        assert!(said.ends_with("did you mean `prediction`?"), "{said}");
    }
}
