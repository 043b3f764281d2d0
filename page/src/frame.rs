//! The page around its sections.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

/// The style sheet of every page.
pub const STYLE: &str = include_str!("style.css");
/// The script of every page: it turns `.viewer` into viewers of slices; `window.med2e3.viewer` does so of one that came later.
pub const VIEWER: &str = include_str!("viewer.js");

/// Between these lines of the style sheet is what charts need.
const CHARTS: [&str; 2] = ["/* charts:", "/* end of charts */"];

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the browser's tab says.
    pub title: &'a str,
    /// Where the links at the top lead: ids of the page and their words. The first is where the link to skip the others leads.
    pub sections: &'a [(String, &'a str)],
    /// After how many seconds a browser loads the page again.
    pub reload: Option<u64>,
    /// Whether there is something on it that the script serves: answers or a viewer.
    pub is_live: bool,
}

impl Frame<'_> {
    /// The whole page as text.
    ///
    /// Of scripts a browser runs the page's own alone, by its hash, whatever texts of strangers are in `body`.
    pub fn html(&self, body: &Markup) -> String {
        let Frame { title, sections, reload, is_live } = *self;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy(is_live));
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    @if let Some(seconds) = reload { meta http-equiv="refresh" content=(seconds); }
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    @if let Some((first, _)) = sections.first() { a.skip href={ "#" (first) } { "Skip to the contents" } }
                    nav aria-label="Sections" { ul {
                        @for (id, words) in sections { li { a href={ "#" (id) } { (words) } } }
                    } }
                    main { (body) }
                    @if is_live { script { (PreEscaped(VIEWER)) } }
                }
            }
        };
        page.into_string()
    }
}

/// Nothing is fetched, pictures are in the page, and no other script than the page's own runs.
fn policy(is_live: bool) -> String {
    let script = match is_live {
        true => format!("'sha256-{}'", STANDARD.encode(Sha256::digest(VIEWER))),
        false => "'none'".to_owned(),
    };
    format!(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script}; base-uri 'none'; form-action 'none'"
    )
}

/// Rules for charts in a picture that stands alone, on white.
///
/// # Panics
/// Never: a test reads the style sheet's marks.
pub fn style_of_charts() -> String {
    let colours =
        STYLE.lines().skip_while(|line| !line.starts_with(":root")).take_while(|line| !line.starts_with("@media"));
    let colours: String = colours.map(|line| line.replace(" color-scheme: light dark;", "")).collect();
    let [start, end] = CHARTS.map(|mark| STYLE.find(mark).expect("the style sheet has its marks"));
    let rules = &STYLE[start..end];
    let rules = rules.split_once("*/").map_or(rules, |(_, rules)| rules);
    format!("{colours}{rules}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_asks_for_nothing_and_runs_its_own_script_alone() {
        let body = html! { p { "<script>alert(1)</script> </style>" } };
        let sections = [("a".into(), "A & B")];
        let frame = Frame { title: "<t>", sections: &sections, reload: Some(5), is_live: true };
        let page = frame.html(&body);
        for part in [
            "<title>&lt;t&gt;</title>",
            "default-src 'none'",
            "content=\"5\"",
            "&lt;script&gt;alert(1)",
            "A &amp; B",
            "href=\"#a\">Skip",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.matches("<script>").count(), 1);
        let still = Frame { is_live: false, ..frame }.html(&body);
        assert!(still.contains("script-src 'none'") && !still.contains("<script>"), "{still}");
        for outside in ["http://", "https://", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_script_is_small_and_plain() {
        assert!(VIEWER.len() <= 12 << 10, "{} bytes", VIEWER.len());
        // What programs show instead of control characters would change the hash.
        assert!(VIEWER.chars().chain(STYLE.chars()).all(|c| c == '\n' || (' '..='~').contains(&c)));
        assert!(!VIEWER.contains("</") && !STYLE.contains("</"));
    }

    #[test]
    fn charts_that_stand_alone_have_their_colours() {
        let style = style_of_charts();
        assert!(style.starts_with(":root { --ink: #1d2733") && style.contains(".chart .bar {"), "{style}");
        assert!(!style.contains("@media") && !style.contains("nav") && !style.contains("/*"), "{style}");
    }

    /// The relative luminance and the contrast of WCAG 2.2.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |hex: &str| {
            let part = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
            0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
        };
        let (a, b) = (luminance(one), luminance(other));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_stand_out_in_light_and_in_dark() {
        let colours: Vec<(&str, &str)> = STYLE.split("--").filter_map(|part| part.split_once(": #")).collect();
        // Each scheme begins with its ink.
        let starts: Vec<usize> = (0..colours.len()).filter(|at| colours[*at].0 == "ink").collect();
        assert_eq!(starts.len(), 2);
        for scheme in [&colours[..starts[1]], &colours[starts[1]..]] {
            let of = |name: &str| {
                let found = scheme.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("no {name}")).1;
                format!("#{}", &found[..6])
            };
            for ground in ["ground", "card", "raised"] {
                for ink in ["ink", "soft", "accent", "mark", "good", "bad", "warn"] {
                    let found = contrast(&of(ink), &of(ground));
                    assert!(found >= 4.5, "{ink} {} on {ground} {}: {found:.2}", of(ink), of(ground));
                }
            }
            for name in ["good", "bad", "warn"] {
                let ground = of(&format!("{name}-ground"));
                let found = contrast(&of(name), &ground).min(contrast(&of("ink"), &ground));
                assert!(found >= 4.5, "{name}: {found:.2}");
            }
        }
    }
}
