//! An entry of the table of texts, and a sample's record of 32-bit words that it points to.
//!
//! | bytes of an entry | |
//! |---|---|
//! | 0 to 15 | the sample's id |
//! | 16 to 31 | two u64: xxh3 of the record, seeded with the id's first 8 bytes; its first word |
//! | 32 to 43 | three u32: words of the record, ids, number of the first volume or 2^32 - 1 |
//! | 44 to 47 | task, split, flags (1: has pretrain ids, 2: has the question for BERT, 4: unsound), volumes (255: that or more) |
//!
//! A record is eight words (shard, row, numbers of volumes, spans, ids, pretrain ids, question ids of either kind), then these,
//! one behind the other; a span is two words, a volume is its number in the list of volumes.

use std::ops::Range;

use med2e3_schemas::Id;
use med2e3_schemas::sample::{SampleRow, Split, Task};

use super::{Stated, Text, Texts, VolumeIds};

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 48;

/// Words before the contents of a record.
const HEADER: usize = 8;

const HAS_PRETRAIN: u8 = 1;
const HAS_BERT: u8 = 2;
const UNSOUND: u8 = 4;
const NO_VOLUME: u32 = u32::MAX;

/// The parts of a file behind its line.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) volumes: &'a [[u8; 16]],
    pub(super) table: &'a [[u8; ENTRY_BYTES]],
    pub(super) words: &'a [i32],
}

impl<'a> Parts<'a> {
    /// `None` where the sizes are not those that are stated.
    pub(super) fn of(bytes: &'a [u8], stated: &Stated) -> Option<Parts<'a>> {
        let size = |count: u64, bytes: usize| usize::try_from(count).ok()?.checked_mul(bytes);
        let (volumes, rest) = bytes.get(Stated::BYTES..)?.split_at_checked(size(stated.volumes, 16)?)?;
        let (table, words) = rest.split_at_checked(size(stated.texts, ENTRY_BYTES)?)?;
        let words: &[i32] = bytemuck::try_cast_slice(words).ok()?;
        let is_whole = words.len() as u64 == stated.words;
        is_whole.then_some(Parts { volumes: volumes.as_chunks().0, table: table.as_chunks().0, words })
    }
}

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) xxh3: u64,
    pub(super) start: u64,
    pub(super) words: u32,
    pub(super) ids: u32,
    first: u32,
    task: u8,
    split: u8,
    flags: u8,
    /// Volumes; 255 for that or more.
    pub(super) volumes: u8,
}

impl Entry {
    pub(super) fn of_bytes(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let [.., task, split, flags, volumes] = *bytes;
        Entry {
            id: Id(std::array::from_fn(|byte| bytes[byte])),
            xxh3: long(16),
            start: long(24),
            words: number(32),
            ids: number(36),
            first: number(40),
            task,
            split,
            flags,
            volumes,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.id.0);
        for (at, number) in [(16, self.xxh3), (24, self.start)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [(32, self.words), (36, self.ids), (40, self.first)] {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[44..].copy_from_slice(&[self.task, self.split, self.flags, self.volumes]);
        bytes
    }

    /// Whether everything that it names is there.
    pub(super) fn is_within(&self, parts: &Parts<'_>) -> bool {
        self.range(parts.words.len()).is_some()
            && (self.first == NO_VOLUME || (self.first as usize) < parts.volumes.len())
            && (self.volumes == 0) == (self.first == NO_VOLUME)
            && usize::from(self.task) < Task::ALL.len()
            && usize::from(self.split) < Split::ALL.len()
            && self.flags <= HAS_PRETRAIN | HAS_BERT | UNSOUND
    }

    /// The words of its record among so many.
    pub(super) fn range(&self, words: usize) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(self.words as usize)?;
        (end <= words).then_some(start..end)
    }

    pub(super) fn task(&self) -> Task {
        Task::ALL[usize::from(self.task)]
    }

    pub(super) fn split(&self) -> Split {
        Split::ALL[usize::from(self.split)]
    }

    pub(super) fn first_volume(&self) -> Option<u32> {
        (self.first != NO_VOLUME).then_some(self.first)
    }

    pub(super) fn is_unsound(&self) -> bool {
        self.flags & UNSOUND != 0
    }

    /// The entry of a row whose record is to begin at word `start`, and the record; `None` where it would be longer than a record
    /// can be, or names a volume that is not among `volumes`, which are sorted.
    pub(super) fn of_row(
        row: &SampleRow,
        (shard, number): (u32, u32),
        start: u64,
        volumes: &[[u8; 16]],
    ) -> Option<(Entry, Vec<i32>)> {
        let pretrain = row.pretrain_ids.as_deref();
        let bert = row.question_ids_bert.as_deref();
        let spans = row.target_spans.iter().flat_map(|(start, end)| [*start, *end]);
        let of_volume = |id: &Id| u32::try_from(volumes.binary_search(&id.0).ok()?).ok();
        let numbers: Vec<u32> = row.volume_ids.iter().map(of_volume).collect::<Option<_>>()?;
        let lists = [&row.ids, pretrain.unwrap_or_default(), &row.question_ids_llm, bert.unwrap_or_default()];
        let mut words = vec![shard as i32, number as i32];
        let counts = [numbers.len(), row.target_spans.len()].into_iter().chain(lists.map(<[i32]>::len));
        for count in counts {
            words.push(u32::try_from(count).ok()? as i32);
        }
        words.extend(numbers.iter().copied().chain(spans).map(|number| number as i32));
        lists.iter().for_each(|list| words.extend_from_slice(list));
        let flags =
            [(pretrain.is_some(), HAS_PRETRAIN), (bert.is_some(), HAS_BERT), (row.problem().is_some(), UNSOUND)];
        let entry = Entry {
            id: row.sample_id,
            xxh3: super::hash(row.sample_id, &words),
            start,
            words: u32::try_from(words.len()).ok()?,
            ids: row.ids.len() as u32,
            first: numbers.first().copied().unwrap_or(NO_VOLUME),
            task: row.task as u8,
            split: row.split as u8,
            flags: flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum(),
            volumes: numbers.len().min(Texts::MANY_VOLUMES) as u8,
        };
        Some((entry, words))
    }
}

/// The text of a record, which its entry describes; `None` where one does not fit the other.
pub(super) fn text<'a>(entry: &Entry, words: &'a [i32], volumes: &'a [[u8; 16]]) -> Option<Text<'a>> {
    let (header, mut rest) = words.split_at_checked(HEADER)?;
    let header: &[u32] = bytemuck::cast_slice(header);
    let mut take = |count: u64| -> Option<&'a [i32]> {
        let (taken, behind) = rest.split_at_checked(usize::try_from(count).ok()?)?;
        rest = behind;
        Some(taken)
    };
    let numbers: &[u32] = bytemuck::cast_slice(take(header[2].into())?);
    let spans = take(2 * u64::from(header[3]))?;
    let (ids, pretrain) = (take(header[4].into())?, take(header[5].into())?);
    let (llm, bert) = (take(header[6].into())?, take(header[7].into())?);
    let has = |flag: u8| entry.flags & flag != 0;
    let fits = rest.is_empty()
        && ids.len() == entry.ids as usize
        && numbers.first().copied() == entry.first_volume()
        && numbers.len().min(Texts::MANY_VOLUMES) == usize::from(entry.volumes)
        && numbers.iter().all(|number| (*number as usize) < volumes.len());
    fits.then_some(Text {
        sample_id: entry.id,
        task: entry.task(),
        split: entry.split(),
        shard: header[0],
        row: header[1],
        volume_ids: VolumeIds { numbers, all: volumes },
        ids,
        target_spans: bytemuck::cast_slice(spans),
        pretrain_ids: has(HAS_PRETRAIN).then_some(pretrain),
        question_ids_llm: llm,
        question_ids_bert: has(HAS_BERT).then_some(bert),
    })
}
