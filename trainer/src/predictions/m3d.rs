//! The CSV files of M3D's `eval_caption.py` and `eval_vqa.py`, and of Med3DVLM's scripts, which have the same columns: `Question,
//! Ground Truth, pred` of captions; `Question Type, Question, Answer, Pred` of open questions, with `Answer Choice` of closed ones.
//! Scores in further columns are computed anew. Rows have no id.
//!
//! Written are M3D's names, columns and ends of lines.

use csv::{Terminator, WriterBuilder};
use med2e3_schemas::evaluation::Answer;
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

/// The file of a task, as M3D's scripts name it.
pub(super) fn write(task: Task, answers: &[&Answer]) -> (&'static str, Vec<u8>) {
    let (name, header): (_, &[&str]) = match task {
        Task::Caption => {
            ("eval_caption.csv", &["Question", "Ground Truth", "pred", "bleu", "rouge1", "meteor", "bert_f1"])
        }
        Task::OpenVqa => (
            "eval_open_vqa.csv",
            &["Question Type", "Question", "Answer", "Pred", "bleu", "rouge1", "meteor", "bert_f1"],
        ),
        Task::ClosedVqa => {
            ("eval_close_vqa.csv", &["Question Type", "Question", "Answer", "Answer Choice", "Pred", "Correct"])
        }
    };
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let mut put = |cells: &[&str]| writer.write_record(cells).expect("memory takes any text");
    put(header);
    for answer in answers {
        let kind = answer.topic.map(|topic| topic.number().to_string()).unwrap_or_default();
        let texts = [kind.as_str(), &answer.question, &answer.expected];
        let score = |name: &str| answer.metrics.get(name).map(|score| format!("{score:?}")).unwrap_or_default();
        let scores = ["bleu1", "rouge1", "meteor", "bertscore_f1"].map(score);
        let scores = scores.each_ref().map(String::as_str);
        match task {
            Task::Caption => put(&[&texts[1..], &[&answer.answer], &scores].concat()),
            Task::OpenVqa => put(&[&texts, &[answer.answer.as_str()][..], &scores].concat()),
            Task::ClosedVqa => {
                let correct = if answer.metrics.get("correct") == Some(&1.0) { "1" } else { "0" };
                let letter = answer.answer_choice.as_deref().unwrap_or_default();
                put(&[&texts[..], &[letter, &answer.answer, correct]].concat());
            }
        }
    }
    (name, writer.into_inner().expect("memory takes any text"))
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
