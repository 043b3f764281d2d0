//! Rows paired with others like them: about another case, or of another question.

use std::collections::BTreeMap;

use med2e3_schemas::Id;
use med2e3_schemas::sample::SampleRow;

/// A number that depends on a seed and an id alone.
pub(super) fn drawn(seed: u64, id: &Id) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"control");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&id.0);
    hasher.finalize().as_bytes()[..16].try_into().expect("a hash has 32 bytes")
}

/// For each row another one of its group that `differs` from it: the next one in a drawn order, so that no row is taken more often
/// than another where all are alike. A row alone has none.
pub(super) fn partners<Group: Ord>(
    rows: &[&SampleRow],
    seed: u64,
    group: impl Fn(&SampleRow) -> Group,
    differs: impl Fn(&SampleRow, &SampleRow) -> bool,
) -> Vec<Option<usize>> {
    let mut groups: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        groups.entry(group(row)).or_default().push(at);
    }
    let mut found = vec![None; rows.len()];
    for mut group in groups.into_values() {
        group.sort_by_cached_key(|at| drawn(seed, &rows[*at].sample_id));
        for (place, &at) in group.iter().enumerate() {
            let mut others = group[place + 1..].iter().chain(&group[..place]);
            found[at] = others.find(|other| differs(rows[at], rows[**other])).copied();
        }
    }
    found
}

/// For each row one of its task and topic about a volume of another case.
pub(super) fn of_another_case(rows: &[&SampleRow], seed: u64) -> Vec<Option<usize>> {
    let group = |row: &SampleRow| (row.task.as_str(), topic(row), row.volume_ids.len());
    partners(rows, seed, group, |one, other| one.case_id != other.case_id)
}

/// For each row one about its volume with another question.
pub(super) fn of_another_question(rows: &[&SampleRow], seed: u64) -> Vec<Option<usize>> {
    partners(rows, seed, |row| row.volume_ids.first().copied(), |one, other| one.question != other.question)
}

/// The name of a row's topic; empty where it has none.
pub(super) fn topic(row: &SampleRow) -> &'static str {
    row.topic.map_or("", |topic| topic.as_str())
}
