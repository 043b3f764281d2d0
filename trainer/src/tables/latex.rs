//! A table as LaTeX that needs no package.

use med2e3_program::visible;

use super::Table;

/// Columns with which a table fits a page in letters of the usual size.
const USUAL: usize = 6;

impl Table {
    /// A float with a caption and, below the table, its notes in small letters.
    pub(crate) fn latex(&self, label: &str) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| text(cell)).collect();
            format!("  {} \\\\\n", cells.join(" & "))
        };
        let size = if self.head.len() > USUAL { "  \\tiny\\setlength{\\tabcolsep}{2pt}\n" } else { "" };
        let columns = "r".repeat(self.head.len().saturating_sub(1));
        let mut page = format!(
            "\\begin{{table}}\n  \\centering\n{size}  \\begin{{tabular}}{{l{columns}}}\n  \\hline\n{}",
            line(&self.head)
        );
        for group in &self.groups {
            page += "  \\hline\n";
            group.iter().for_each(|row| page += &line(row));
        }
        page +=
            &format!("  \\hline\n  \\end{{tabular}}\n  \\caption{{{}}}\n  \\label{{tab:{label}}}\n", text(&self.title));
        page += "  \\begin{flushleft}\\footnotesize\n";
        self.notes.iter().for_each(|note| page += &format!("  {}\\par\n", text(note)));
        page + "  \\end{flushleft}\n\\end{table}\n"
    }
}

/// A text of strangers within LaTeX: it names no command.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible::value(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            '\\' => escaped += "\\textbackslash{}",
            '~' => escaped += "\\textasciitilde{}",
            '^' => escaped += "\\textasciicircum{}",
            '<' | '>' | '|' => escaped.extend(['$', c, '$']),
            '†' => escaped += "$^\\dagger$",
            '±' => escaped += "$\\pm$",
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use crate::tables::hostile;

    #[test]
    fn no_text_names_a_command() {
        let expected = r"\begin{table}
  \centering
  \begin{tabular}{lr}
  \hline
  Method & B@1 \\
  \hline
  M3D-LaMed$^\dagger$ & 37.30 \\
  \hline
  a$|$b\textbackslash{}n$<$i$>$\textbackslash{}x\_y\{z\}\$\#\textasciitilde{}\textasciicircum{}\%\& & 1 $\pm$ 2 \\
  \hline
  \end{tabular}
  \caption{A \& B\_1}
  \label{tab:x}
  \begin{flushleft}\footnotesize
  split test, 50 \% of `a\_b`\par
  \end{flushleft}
\end{table}
";
        assert_eq!(hostile().latex("x"), expected);
    }

    #[test]
    fn a_wide_table_has_small_letters() {
        let mut wide = hostile();
        wide.head.resize(7, "more".into());
        assert!(
            wide.latex("x").contains("\\centering\n  \\tiny\\setlength{\\tabcolsep}{2pt}\n  \\begin{tabular}{lrrrrrr}")
        );
    }
}
