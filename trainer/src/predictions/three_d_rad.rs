//! The CSV files of 3D-RAD's `eval_3DRAD.py`: `Question Aspect, Question, Answer, Pred` of open questions, with `Answer Choice` of
//! closed ones. It writes no row where an open question has no answer, so such samples are missing. Rows have no id.

use med2e3_schemas::sample::Task;

use super::table::Table;
use super::{Predictions, Unread};

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let table = Table::of(text)?;
    table.column("Question Aspect")?;
    let task = if table.has("Answer Choice") { Task::ClosedVqa } else { Task::OpenVqa };
    table.predictions(Some(task), "Answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_tell_the_task() {
        let open = read("Question Aspect,Question,Answer,Pred,bleu\n['Size'],How large?,2 cm,3 cm,0.5\n").unwrap();
        assert_eq!((open.task, open.rows[0].answer.as_deref()), (Some(Task::OpenVqa), Some("3 cm")));
        let closed = read("Question Aspect,Question,Answer,Answer Choice,Pred,Correct\n['b'],Which?,A. x,A,A. x,1\n");
        assert_eq!(closed.unwrap().task, Some(Task::ClosedVqa));
        let said = read("Question Type,Question,Answer,Pred\n").unwrap_err().to_string();
        assert!(said.contains("`Question Aspect`") && said.contains("did you mean `Question Type`?"), "{said}");
    }
}
