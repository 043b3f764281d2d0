//! Files of texts whose bits were flipped, whose ends are cut and whose tables were forged, beside the rows that they were made of.

use std::fs;

use med2e3_schemas::sample::{IMAGE3D, Topic};
use proptest::prelude::*;

use super::record::ENTRY_BYTES;
use super::*;

fn id(number: u32) -> Id {
    Id::of_volume(&number.to_string())
}

/// Rows of every kind: no volume, one and several, each form there and not there, empty lists.
fn row(number: u32) -> SampleRow {
    let volumes: Vec<Id> = (0..number % 4).map(|at| id(1000 + (number + at) % 5)).collect();
    let mut ids: Vec<i32> = volumes.iter().map(|_| IMAGE3D).collect();
    ids.extend((0..3 + number as i32 % 3).map(|at| at * 7 + number as i32));
    let end = ids.len() as u32;
    let pretrain = number.is_multiple_of(3).then(|| ids[..volumes.len()].to_vec());
    SampleRow {
        task: Task::ALL[number as usize % 3],
        split: Split::ALL[number as usize / 3 % 3],
        topic: Some(Topic::Organ),
        answer: "not in the file".into(),
        pretrain_ids: pretrain,
        question_ids_llm: (0..number as i32 % 4).collect(),
        question_ids_bert: (number % 2 == 1).then(|| vec![101, number as i32, 102]),
        ..SampleRow::of_ids(id(number), volumes, ids, vec![(end - 3, end - 2), (end - 1, end)])
    }
}

fn assert_same(text: Text<'_>, row: &SampleRow) {
    assert_eq!((text.sample_id, text.task, text.split), (row.sample_id, row.task, row.split));
    assert_eq!(text.volume_ids.iter().collect::<Vec<_>>(), row.volume_ids);
    let spans: Vec<(u32, u32)> = text.target_spans.iter().map(|span| (span[0], span[1])).collect();
    assert_eq!((text.ids, spans), (row.ids.as_slice(), row.target_spans.clone()));
    assert_eq!(text.pretrain_ids, row.pretrain_ids.as_deref());
    assert_eq!(text.question_ids_llm, row.question_ids_llm);
    assert_eq!(text.question_ids_bert, row.question_ids_bert.as_deref());
}

#[test]
fn rows_are_what_they_were_in_their_order_however_often_they_are_there() {
    let rows: Vec<SampleRow> = [5, 2, 5, 0, 1, 3, 11].map(row).to_vec();
    let texts = Texts::of_rows(&rows);
    assert_eq!((texts.len(), texts.at(7).is_err()), (7, true));
    for (at, row) in rows.iter().enumerate() {
        assert_same(texts.at(at).unwrap(), row);
        assert_eq!((texts.id(at), texts.task(at), texts.split(at)), (row.sample_id, row.task, row.split));
        let first = texts.first_volume(at).map(|number| Id(texts.volumes()[number as usize]));
        assert_eq!((first, texts.ids_len(at)), (row.volume_ids.first().copied(), row.ids.len()));
        assert_eq!(texts.has_volumes(at, |_| true).unwrap(), true);
        let last = row.volume_ids.last();
        let but_last = |number: u32| Some(&Id(texts.volumes()[number as usize])) != last;
        assert_eq!(texts.has_volumes(at, but_last).unwrap(), last.is_none());
        assert!(!texts.is_unsound(at));
    }
    assert!(Texts::of_rows(&[]).is_empty());
    let unsound = SampleRow { target_spans: vec![(9, 70_000), (u32::MAX, 3)], ids: vec![-7; 2], ..row(1) };
    let texts = Texts::of_rows(std::slice::from_ref(&unsound));
    assert!(texts.is_unsound(0));
    assert_same(texts.at(0).unwrap(), &unsound);
}

/// A small file: its bytes, and the rows that it was made of, sorted.
fn file() -> (Vec<u8>, Vec<SampleRow>) {
    let mut rows: Vec<SampleRow> = (0..9).map(row).collect();
    rows.sort_by_key(|row| row.sample_id);
    (Texts::of_rows(&rows).bytes.all().to_vec(), rows)
}

fn open(bytes: &[u8]) -> Result<Texts, ShardError> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("feed")).unwrap();
    fs::write(folder.path().join(FILE), bytes).unwrap();
    Ok(Texts::read(folder.path())?.expect("it was just written"))
}

#[test]
fn every_bit_counts() {
    let (whole, rows) = file();
    let same = open(&whole).unwrap();
    rows.iter().enumerate().for_each(|(at, row)| assert_same(same.at(at).unwrap(), row));
    let heap = same.parts().words.len() * 4;
    let mut refused = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A file is mapped as this is, so that no file a bit is needed.
        let own = Bytes::Own(bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect());
        let Ok(texts) = Texts::of_bytes(own, FILE.into()) else {
            refused += 1;
            continue;
        };
        assert!(bit / 8 >= whole.len() - heap, "bit {bit} is in the tables");
        // Of all samples the one whose record it is in.
        let refused: Vec<usize> = (0..rows.len()).filter(|at| texts.at(*at).is_err()).collect();
        assert_eq!(refused.len(), 1, "bit {bit}");
        (0..rows.len()).filter(|at| *at != refused[0]).for_each(|at| assert_same(texts.at(at).unwrap(), &rows[at]));
    }
    assert_eq!(refused, (whole.len() - heap) * 8);
}

#[test]
fn a_file_that_is_cut_or_longer_is_refused() {
    let (whole, _) = file();
    for cut in (0..whole.len()).step_by(3).chain([255, 256, 257, whole.len() - 1]) {
        let error = open(&whole[..cut]).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("made again"), "{error}");
    }
    assert!(open(&[&whole[..], &[0; 4]].concat()).is_err());
}

/// The file with its table changed and hashed again, as only who wants to mislead would write it.
fn forged(change: impl Fn(&mut [[u8; ENTRY_BYTES]])) -> Result<Texts, ShardError> {
    let (whole, _) = file();
    let texts = open(&whole).unwrap();
    let (parts, mut table) = (texts.parts(), texts.parts().table.to_vec());
    change(&mut table);
    let stated = texts.stated.clone().with_hash(&[parts.volumes.as_flattened(), table.as_flattened()]);
    let (line, words) = (stated.line(), bytemuck::cast_slice(parts.words));
    open(&[line.as_bytes(), parts.volumes.as_flattened(), table.as_flattened(), words].concat())
}

#[test]
fn a_table_that_names_what_is_not_there_is_refused() {
    forged(|_| ()).unwrap();
    let set = |at: usize, bytes: &'static [u8]| {
        move |table: &mut [[u8; ENTRY_BYTES]]| table[4][at..at + bytes.len()].copy_from_slice(bytes)
    };
    // Samples out of order and twice.
    for error in [forged(|table| table.swap(2, 3)), forged(|table| table[3] = table[2])] {
        assert!(error.unwrap_err().to_string().contains("out of order or twice"));
    }
    // A record, a volume, a word, a flag past the end.
    for (at, bytes) in [
        (24, &[0xff; 8][..]),
        (24, &[0, 1, 0, 0, 0, 0, 0, 0]),
        (32, &[0xff; 4]),
        (40, &[0xfe; 4]),
        (44, &[3]),
        (45, &[3]),
        (46, &[8]),
    ] {
        let bytes: &'static [u8] = bytes.to_vec().leak();
        assert!(forged(set(at, bytes)).unwrap_err().to_string().contains("not there"), "{at}");
    }
    // Into a neighbour: its record, which has another sample's hash; one word more or less; other counts than the record has.
    let of_other = |table: &mut [[u8; ENTRY_BYTES]]| {
        let other = table[5];
        table[4][16..40].copy_from_slice(&other[16..40]);
    };
    assert!(forged(of_other).unwrap().at(4).is_err());
    for (at, by) in [(24, 1), (32, 1), (36, 1), (46, 1)] {
        let texts = forged(|table| table[4][at] ^= by).unwrap();
        let is_refused = texts.at(4).is_err();
        // Whether a form is there is the table's to say, and guarded by its hash.
        assert!(is_refused || at == 46, "{at}");
        assert!(texts.at(3).is_ok());
    }
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..700), number in 0_u64..40, words in 0_u64..80) {
        let stated = Stated { texts: number % 5, volumes: number % 3, words, ..Texts::of_rows(&[]).stated };
        let head = Stated::BYTES + 16 * stated.volumes as usize + ENTRY_BYTES * stated.texts as usize;
        bytes.resize(head - Stated::BYTES + 4 * words as usize, 7);
        let (volumes, table) = bytes[..head - Stated::BYTES].split_at(16 * stated.volumes as usize);
        let line = stated.with_hash(&[volumes, table]).line();
        let all = [line.as_bytes(), &bytes].concat();
        let own = Bytes::Own(all.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect());
        if let Ok(texts) = Texts::of_bytes(own, FILE.into()) {
            (0..texts.len()).for_each(|row| drop(texts.at(row)));
        }
    }
}
