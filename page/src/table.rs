//! Tables, facts and tiles.

use maud::{Markup, html};

/// What may be wider than the page, in a box that scrolls, also by the keyboard. `name` says what it is.
pub fn scroll(name: &str, inner: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label=(name) { (inner) } }
}

/// A table. `columns` are the words above, a word that begins with `#` above numbers; `rows` are `tr`.
pub fn table(name: &str, columns: &[&str], rows: &Markup) -> Markup {
    scroll(
        name,
        &html! { table {
            thead { tr { @for column in columns {
                @match column.strip_prefix('#') {
                    Some(column) => { th.n scope="col" { (column) } }
                    None => { th scope="col" { (column) } }
                }
            } } }
            tbody { (rows) }
        } },
    )
}

/// Facts by name; those without a value are left out.
pub fn facts(facts: &[(&str, Option<Markup>)]) -> Markup {
    html! { dl {
        @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
    } }
}

/// A few numbers in large letters, each with what it is.
pub fn tiles(tiles: &[(String, String)]) -> Markup {
    html! { div.tiles { @for (value, what) in tiles { div.tile { b { (value) } span { (what) } } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_itself_and_its_columns() {
        let found = table("counts", &["what <b>", "#how many"], &html! { tr { th scope="row" { "a" } td.n { (1) } } })
            .into_string();
        for part in [
            "aria-label=\"counts\"",
            "<th scope=\"col\">what &lt;b&gt;</th>",
            "<th class=\"n\" scope=\"col\">how many</th>",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let found = facts(&[("seed", Some(html! { (1) })), ("hash", None)]).into_string();
        assert!(found.contains("<dt>seed</dt>") && !found.contains("hash"), "{found}");
    }
}
