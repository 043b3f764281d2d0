//! Slice names: which files of a folder are the slices of one series, by all their names, for listing and reading alike.
//!
//! The official preparation takes `.jpeg` and `.png`, the name before the ending being a number. Beyond that are taken:
//! endings in any case, numbers of any length, names that share everything but one number (`slice_001.png`,
//! `IM-0001-0012.png`), and `.jpg` where no other picture is there. Names that begin with a dot are no slices.

use std::cmp::Ordering;

/// The slices among the names of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    /// Number of each slice and index of its name, in the order of the slices. Where a number of the series takes more
    /// than 32 bits, they are numbered from 0 in their order.
    pub(super) slices: Vec<(u32, usize)>,
    /// `.jpg` files that are left out since there are `.jpeg` or `.png`; numbered as the slices.
    pub(super) dropped: Vec<(u32, usize)>,
    /// A picture among numbered ones whose name is no number.
    pub(super) stray: Option<usize>,
    /// What a user should know of the names, a sentence each.
    pub(super) notes: Vec<String>,
}

/// A name without its ending, and its index.
type Stem<'a> = (&'a str, usize);

/// The series that the names of a folder form; `None` where none of the pictures is a slice.
pub(super) fn series_of(names: &[&str]) -> Option<Series> {
    let (official, jpg) = (stems(names, &[".jpeg", ".png"]), stems(names, &[".jpg"]));
    let is_jpg = official.is_empty();
    let pictures = if is_jpg { &jpg } else { &official };
    let mut series = Series::default();
    let mut slices: Vec<(Number, usize)> = pictures.iter().filter_map(plain_number).collect();
    if slices.is_empty() {
        slices = common_numbers(pictures)?;
        series.notes.push("the slices are ordered by the one number in which their names differ".to_owned());
    } else {
        series.stray = pictures.iter().find(|stem| plain_number(stem).is_none()).map(|(_, index)| *index);
    }
    let mut dropped: Vec<(Number, usize)> =
        if is_jpg { Vec::new() } else { jpg.iter().filter_map(plain_number).collect() };
    for list in [&mut slices, &mut dropped] {
        // Of equal numbers, such as 7.jpeg and 7.png, the name decides, so that the file system's order does not matter.
        list.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| names[a.1].cmp(names[b.1])));
    }
    if is_jpg {
        series.notes.push("the slices are .jpg files, of which the official preparation takes none".to_owned());
    }
    let same = slices.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).map(<[_]>::len).sum::<usize>();
    if same > 0 {
        series
            .notes
            .push(format!("{same} slices have a number that another slice has too: their names decide the order"));
    }
    let fits = slices.iter().chain(&dropped).all(|(number, _)| number.value().is_some());
    let numbered = |list: Vec<(Number, usize)>| -> Vec<(u32, usize)> {
        let number = |(at, (number, index)): (usize, (Number, usize))| {
            (number.value().filter(|_| fits).unwrap_or(at as u32), index)
        };
        list.into_iter().enumerate().map(number).collect()
    };
    Some(Series { slices: numbered(slices), dropped: numbered(dropped), ..series })
}

/// The names with one of the endings, in any case, without it.
fn stems<'a>(names: &[&'a str], endings: &[&str]) -> Vec<Stem<'a>> {
    let stem = |name: &'a str| {
        let (stem, ending) = name.split_at_checked(name.rfind('.')?)?;
        let is_ending = endings.iter().any(|wanted| ending.eq_ignore_ascii_case(wanted));
        (is_ending && !name.starts_with('.')).then_some(stem)
    };
    names.iter().enumerate().filter_map(|(index, name)| Some((stem(name)?, index))).collect()
}

fn plain_number<'a>((stem, index): &Stem<'a>) -> Option<(Number<'a>, usize)> {
    let is_number = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (Number::of(stem), *index))
}

/// The numbers of names that are equal but for one number; at least two names.
fn common_numbers<'a>(stems: &[Stem<'a>]) -> Option<Vec<(Number<'a>, usize)>> {
    let (first, others) = stems.split_first()?;
    let parts = runs(first.0);
    let mut differs = None;
    for (stem, _) in others {
        let other = runs(stem);
        if other.len() != parts.len() {
            return None;
        }
        for (at, (a, b)) in parts.iter().zip(&other).enumerate().filter(|(_, (a, b))| a != b) {
            let are_numbers = [a, b].iter().all(|run| run.as_bytes()[0].is_ascii_digit());
            if !are_numbers || differs.is_some_and(|differs| differs != at) {
                return None;
            }
            differs = Some(at);
        }
    }
    let differs = differs?;
    Some(stems.iter().map(|(stem, index)| (Number::of(runs(stem)[differs]), *index)).collect())
}

/// Runs of digits and of other characters.
fn runs(stem: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = stem;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push(run);
        rest = after;
    }
    runs
}

/// A number of any length: its digits without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number<'a>(&'a str);

impl<'a> Number<'a> {
    fn of(digits: &'a str) -> Number<'a> {
        Number(digits.trim_start_matches('0'))
    }

    fn value(self) -> Option<u32> {
        if self.0.is_empty() { Some(0) } else { self.0.parse().ok() }
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(other.0))
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slices' names in order, and the numbers.
    fn order<'a>(names: &[&'a str]) -> Option<(Vec<&'a str>, Vec<u32>)> {
        let series = series_of(names)?;
        Some(series.slices.iter().map(|(number, index)| (names[*index], *number)).unzip())
    }

    #[test]
    fn plain_numbers_are_ordered_by_value() {
        let names = ["10.png", "9.jpeg", "007.PNG", "7.Jpeg", "notes.txt", "._7.png", ".8.png", "1.jpg.txt", "png"];
        assert_eq!(order(&names).unwrap(), (vec!["007.PNG", "7.Jpeg", "9.jpeg", "10.png"], vec![7, 7, 9, 10]));
        let series = series_of(&names).unwrap();
        assert!(series.notes.len() == 1 && series.notes[0].starts_with("2 slices have a number"), "{:?}", series.notes);
        assert_eq!((series.stray, series.dropped), (None, vec![]));
        assert_eq!(series_of(&["1.png", "scout.png"]).unwrap().stray, Some(1));
    }

    #[test]
    fn long_numbers_are_numbered_by_their_order() {
        let names = ["20240115093000123.png", "4.png", "20240115093000099.png", "00000000000000000005.png"];
        let expected = vec!["4.png", "00000000000000000005.png", "20240115093000099.png", "20240115093000123.png"];
        assert_eq!(order(&names).unwrap(), (expected, vec![0, 1, 2, 3]));
        assert_eq!(order(&["4294967296.png", "4294967295.png"]).unwrap().1, [0, 1]);
        assert_eq!(order(&["4294967295.png", "0.png"]).unwrap().1, [0, 4294967295]);
    }

    #[test]
    fn names_that_differ_in_one_number_are_a_series() {
        let names = ["IM-0001-0012.png", "IM-0001-0002.png", "IM-0001-0100.png"];
        let (slices, numbers) = order(&names).unwrap();
        assert_eq!((slices[0], slices[2], numbers), (names[1], names[2], vec![2, 12, 100]));
        assert!(series_of(&names).unwrap().notes[0].contains("one number"));
        assert_eq!(order(&["slice_2.png", "slice_10.PNG"]).unwrap().1, [2, 10]);
        assert_eq!(order(&["2_of_60.png", "11_of_60.png"]).unwrap().1, [2, 11]);
        assert_eq!(order(&["a1.png", "a01.png"]).unwrap().0, ["a01.png", "a1.png"]);
        for none in [
            &["IM-0001-0012.png", "IM-0002-0013.png"][..],
            &["slice_1.png", "view_2.png"],
            &["slice_1.png", "slice_2.png", "preview.png"],
            &["slice_1.png", "slice_1_2.png"],
            &["slice_1.png"],
            &["preview.png", "overview.png"],
            &["a1.png", "a.png"],
            &["1.txt", "2.txt", ".1.png"],
            &[".png", ".jpeg"],
            &[],
        ] {
            assert_eq!(series_of(none), None, "{none:?}");
        }
    }

    #[test]
    fn jpg_counts_where_no_other_picture_is_there() {
        let names = ["2.jpg", "1.JPG", "10.jpg"];
        assert_eq!(order(&names).unwrap(), (vec!["1.JPG", "2.jpg", "10.jpg"], vec![1, 2, 10]));
        assert!(series_of(&names).unwrap().notes[0].contains(".jpg"));
        assert_eq!(order(&["s1.jpg", "s2.jpg"]).unwrap().1, [1, 2]);
        let mixed = series_of(&["2.jpg", "1.png", "10.jpg", "thumb.jpg"]).unwrap();
        assert_eq!((mixed.slices, mixed.dropped), (vec![(1, 1)], vec![(2, 0), (10, 2)]));
        assert_eq!(series_of(&["2.jpg", "scout.png"]), None);
    }

    #[test]
    fn every_order_of_the_names_gives_the_same_series() {
        let names = ["3.png", "03.png", "1.jpeg", "2.PNG", "99999999999.png", "4.jpg"];
        let expected = order(&names).unwrap();
        for n in 0..names.len() {
            let mut turned = names;
            turned.rotate_left(n);
            assert_eq!(order(&turned).unwrap(), expected);
            turned.reverse();
            assert_eq!(order(&turned).unwrap(), expected);
        }
    }
}
