//! The CSV files of RadFM's `test.py`: `Question, Ground Truth, Pred, belong_to`. It writes batches of one as they are, so a cell is a
//! list as Python prints it: `['Where?']`. Its loader shuffles, and leaves out what fails. Rows have no id.

use super::table::Table;
use super::{Predictions, Unread};

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Predictions, Unread> {
    let table = Table::of(text)?;
    table.column("belong_to")?;
    let mut predictions = table.predictions(None, "Ground Truth")?;
    for row in &mut predictions.rows {
        for text in [&mut row.question, &mut row.expected, &mut row.answer].into_iter().flatten() {
            if let Some(only) = only_of_list(text) {
                *text = only;
            }
        }
        row.answer = row.answer.take().filter(|text| !text.trim().is_empty());
    }
    Ok(predictions)
}

/// The one text of a list or tuple as Python prints it; `None` where the text is no such list.
fn only_of_list(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inside = inside.or_else(|| text.strip_prefix('(')?.strip_suffix(",)"))?;
    let mut characters = inside.chars();
    let quote = characters.next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut only = String::with_capacity(inside.len());
    loop {
        match characters.next()? {
            c if c == quote => break,
            '\\' => only.push(escaped(&mut characters)?),
            c => only.push(c),
        }
    }
    characters.next().is_none().then_some(only)
}

/// The character that an escape of Python's stands for.
fn escaped(characters: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match characters.next()? {
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        c @ ('\\' | '\'' | '"') => return Some(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let code = (0..digits).try_fold(0_u32, |code, _| Some(code.checked_mul(16)? + characters.next()?.to_digit(16)?));
    char::from_u32(code?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_python_are_unwrapped() {
        for (printed, text) in [
            (r"['Where?']", "Where?"),
            (r#"["It's \"left\"."]"#, "It's \"left\"."),
            (r"['a\nb\\c\'\t\xe9\u809d\U0001f600']", "a\nb\\c'\té肝\u{1f600}"),
            (r"('one',)", "one"),
            (r"['']", ""),
        ] {
            assert_eq!(only_of_list(printed).as_deref(), Some(text), "{printed}");
        }
        for other in ["[1]", "['a', 'b']", "['a'", "plain", "[]", r"['\q']", r"['\ud800']", r"['\Uffffffff']", "["] {
            assert_eq!(only_of_list(other), None, "{other}");
        }
    }

    #[test]
    fn cells_may_be_lists_or_texts() {
        let text = "Question,Ground Truth,Pred,belong_to\n\"['<image> Where?']\",['left'],\"[\"\"right\"\"]\",['x']\nWhere?,left,[''],x\n";
        let rows = read(text).unwrap().rows;
        let texts = |at: usize| (rows[at].question.as_deref().unwrap(), rows[at].expected.as_deref().unwrap());
        assert_eq!((texts(0), rows[0].answer.as_deref()), (("<image> Where?", "left"), Some("right")));
        assert_eq!((texts(1), rows[1].answer.as_deref()), (("Where?", "left"), None));
        assert!(read("Question,Ground Truth,pred\n").unwrap_err().expected.contains("belong_to"));
    }
}
