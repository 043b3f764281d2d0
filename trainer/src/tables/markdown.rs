//! A table as Markdown.

use med2e3_program::visible;

use super::Table;

impl Table {
    /// The title, the table, and its notes as a list.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| text(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let marks: Vec<&str> =
            self.head.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
        let mut page = format!("## {}\n\n{}| {} |\n", text(&self.title), line(&self.head), marks.join(" | "));
        self.groups.iter().flatten().for_each(|row| page += &line(row));
        page += "\n";
        self.notes.iter().for_each(|note| page += &format!("- {}\n", text(note)));
        page
    }
}

/// A text of strangers in a line of Markdown: it ends no cell and begins no tag, link or emphasis.
pub(crate) fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible::value(text).chars() {
        if ['\\', '|', '<', '>', '*', '_', '`', '[', ']'].contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use crate::tables::hostile;

    #[test]
    fn no_text_leaves_its_cell() {
        let expected = "## A & B\\_1\n\n| Method | B@1 |\n| --- | ---: |\n| M3D-LaMed† | 37.30 |\n\
            | a\\|b\\\\n\\<i\\>\\\\x\\_y{z}$#~^%& | 1 ± 2 |\n\n- split test, 50 % of \\`a\\_b\\`\n";
        assert_eq!(hostile().markdown(), expected);
    }
}
