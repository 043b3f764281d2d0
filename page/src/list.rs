//! Answers next to what was expected, with a filter.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::words::differences;

/// How an answer was judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Right.
    Right,
    /// Wrong.
    Wrong,
    /// A score in words, and whether it is below the highest.
    Score(String, bool),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct AnswerItem<'a> {
    /// Kind of question.
    pub task: &'a str,
    /// Question type.
    pub topic: Option<&'a str>,
    /// The question.
    pub question: &'a str,
    /// What was expected.
    pub expected: &'a str,
    /// What was answered.
    pub answer: &'a str,
    /// How it was judged.
    pub verdict: Verdict,
    /// The answer about another case's volume, where it is known.
    pub shuffled: Option<&'a str>,
    /// What else there is to say, such as that it was cut.
    pub notes: Vec<&'a str>,
}

/// Answers in the order in which they are shown.
#[derive(Clone, Debug)]
pub struct AnswerList<'a> {
    /// Begins the ids of the list's fields; another one for each list of a page.
    pub id: &'a str,
    /// What is shown.
    pub items: Vec<AnswerItem<'a>>,
}

impl AnswerList<'_> {
    /// The list with its filter, which needs the page's script.
    pub fn markup(&self) -> Markup {
        let AnswerList { id, items } = self;
        let tasks: BTreeSet<&str> = items.iter().map(|item| item.task).collect();
        let topics: BTreeSet<&str> = items.iter().filter_map(|item| item.topic).collect();
        let is_shuffled = items.iter().any(|item| item.shuffled.is_some());
        let choose = |name: &str, words: &str, values: &BTreeSet<&str>| {
            html! { @if values.len() > 1 {
                label for={ (id) "-" (name) } { (words) }
                select id={ (id) "-" (name) } name=(name) {
                    option value="" { "all" }
                    @for value in values { option value=(value) { (value) } }
                }
            } }
        };
        html! { div.answer-list {
            form.filter.scripted-only {
                (choose("task", "Task", &tasks)) (choose("topic", "Topic", &topics))
                label { input type="checkbox" name="wrong"; " wrong alone" }
                @if is_shuffled { label { input type="checkbox" name="changed"; " changed with another volume" } }
                input type="search" name="search" placeholder="search" aria-label="Search in answers";
                output aria-live="polite" {}
                span { kbd { "j" } " " kbd { "k" } " next, last" }
            }
            ol.answers { @for item in items { (one(item)) } }
            @if items.len() > PRINTED { p.printed { "The first " (PRINTED) " of " (items.len()) " are printed." } }
        } }
    }
}

/// Answers that are printed, as the style sheet has it.
const PRINTED: usize = 40;

fn one(item: &AnswerItem<'_>) -> Markup {
    let is_wrong = matches!(item.verdict, Verdict::Wrong | Verdict::Score(_, true));
    let changed = item.shuffled.filter(|other| *other != item.answer);
    let [expected, answer] = differences(item.expected, item.answer);
    html! {
        li tabindex="-1" data-task=(item.task) data-topic=[item.topic] data-wrong[is_wrong] data-changed[changed.is_some()] {
            @match &item.verdict {
                Verdict::Right => { span.badge.right { "right" } }
                Verdict::Wrong => { span.badge.wrong { "wrong" } }
                Verdict::Score(words, _) => { span.badge { (words) } }
            }
            span.badge { (item.task) }
            @if let Some(topic) = item.topic { span.badge { (topic) } }
            @for note in &item.notes { span.badge.warn { (note) } }
            p { (item.question) }
            dl.pair {
                dt { "expected" } dd { (expected) } dt { "answered" } dd { (answer) }
                @if let Some(changed) = changed { dt { "other volume" } dd { (changed) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_and_changed_answers_are_told_apart() {
        let item = AnswerItem {
            task: "closed_vqa",
            topic: Some("plane"),
            question: "Which <plane>?",
            expected: "A. Axial",
            answer: "B. Coronal",
            verdict: Verdict::Wrong,
            shuffled: Some("A. Axial"),
            notes: vec!["cut"],
        };
        let other = AnswerItem {
            topic: None,
            verdict: Verdict::Score("ROUGE-1 100 %".into(), false),
            shuffled: Some("B. Coronal"),
            ..item.clone()
        };
        let found = AnswerList { id: "a0", items: vec![item, other] }.markup().into_string();
        for part in [
            "Which &lt;plane&gt;?",
            "<mark class=\"extra\">Coronal</mark>",
            "changed with another volume",
            "other volume",
            ">cut<",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
        assert_eq!((found.matches(" data-wrong").count(), found.matches(" data-changed").count()), (1, 1));
        // One task and one topic are no choice.
        assert!(!found.contains("<select"), "{found}");
    }
}
