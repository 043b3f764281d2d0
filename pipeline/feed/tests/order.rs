//! Orders against numbers that `golden/order.py` computed from their description alone, and against what they promise: each
//! sample once an epoch, shares exact at every block's end, reads saved by groups.

use std::collections::{BTreeMap, HashSet};

use med2e3_feed::order::mix::BLOCK;
use med2e3_feed::order::permutation::{Keys, Permutation};
use med2e3_feed::order::steps::share;
use med2e3_feed::{Changes, FeedCursor, FeedError, Order, Sequence, Steps, Tail, Weights};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::Samples;
use serde_json::Value;

const SEED: u64 = 7;

fn selection() -> [u8; 32] {
    std::array::from_fn(|byte| byte as u8)
}

fn row(number: usize, task: Task, volume: Option<usize>) -> SampleRow {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let volume = volume.map(|volume| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(volume as u64).to_be_bytes());
        Id(id)
    });
    let ids = vec![1; 1 + number * number * 5 % 23];
    SampleRow { task, ..SampleRow::of_ids(Id(id), volume.into_iter().collect(), ids, vec![]) }
}

/// As `golden/order.py` has them: three tasks, 13 volumes, some samples that show none, and up to 23 ids.
fn rows(count: usize) -> Vec<SampleRow> {
    let volume = |number: usize| (number % 17 != 16).then_some(number * number % 13);
    (0..count).map(|number| row(number, Task::ALL[number * 7 % 11 % 3], volume(number))).collect()
}

fn sequence(rows: &[SampleRow], order: Order) -> Sequence {
    Sequence::new(&selection(), &Samples::of_rows(rows), &order).unwrap()
}

fn taken(sequence: &Sequence, positions: impl IntoIterator<Item = u64>) -> Vec<u32> {
    let mut walk = sequence.walk();
    positions.into_iter().map(|position| walk.at(position)).collect()
}

fn thorough() -> bool {
    std::env::var_os("MED2E3_THOROUGH").is_some()
}

fn weights(stated: [f64; 3]) -> Weights {
    Weights::new(Task::ALL.iter().copied().zip(stated)).unwrap()
}

/// A mix whose weights change.
fn mix(first: [f64; 3], later: &[(u64, [f64; 3])]) -> Order {
    let then = later.iter().map(|(from, stated)| (*from, weights(*stated))).collect();
    Order::Mix { seed: SEED, weights: weights(first), then: Changes::new(then).unwrap() }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn permutation(count: u64, number: u64) -> Permutation {
    Permutation::new(count, Keys::new(&selection(), SEED, number, "epoch"))
}

#[test]
fn every_order_is_the_described_one() {
    let golden: Value = serde_json::from_str(include_str!("golden/order.json")).unwrap();
    let cases = |key: &str| golden[key].as_array().unwrap().clone();
    for case in cases("shuffled") {
        let samples = case["samples"].as_u64().unwrap();
        let found = numbers(&case["positions"]).into_iter().map(|p| permutation(samples, p / samples).at(p % samples));
        assert_eq!(found.collect::<Vec<_>>(), numbers(&case["found"]), "shuffled {samples}");
        if samples < 2000 {
            let sequence = sequence(&rows(samples as usize), Order::Shuffled { seed: SEED });
            let found = taken(&sequence, numbers(&case["positions"]));
            assert_eq!(found.into_iter().map(u64::from).collect::<Vec<_>>(), numbers(&case["found"]));
        }
    }
    for case in cases("mix") {
        let stated = |weights: &Value| {
            let stated: Vec<f64> = numbers(weights).into_iter().map(|weight| weight as f64 / 1e9).collect();
            <[f64; 3]>::try_from(stated).unwrap()
        };
        let segments = case["segments"].as_array().unwrap();
        let later: Vec<_> = segments[1..].iter().map(|part| (part[0].as_u64().unwrap(), stated(&part[1]))).collect();
        let order = mix(stated(&segments[0][1]), &later);
        let sequence = sequence(&rows(case["samples"].as_u64().unwrap() as usize), order);
        let found = taken(&sequence, numbers(&case["positions"]));
        assert_eq!(found.into_iter().map(u64::from).collect::<Vec<_>>(), numbers(&case["found"]), "mix");
    }
    for case in cases("buckets") {
        let number = |key: &str| case[key].as_u64().unwrap();
        let (samples, window, unit) = (number("samples"), number("window") as usize, number("unit") as usize);
        let sequence = sequence(&rows(samples as usize), Order::LengthBuckets { seed: SEED, window, unit });
        let found = taken(&sequence, 0..2 * samples);
        let expected = numbers(&case["found"]);
        assert_eq!(found.into_iter().map(u64::from).collect::<Vec<_>>(), expected, "{case}");
    }
    for case in cases("grouped") {
        let (samples, texts) = (case["samples"].as_u64().unwrap(), case["texts"].as_u64().unwrap() as usize);
        let sequence = sequence(&rows(samples as usize), Order::GroupedByVolume { seed: SEED, texts });
        let found = taken(&sequence, 0..2 * samples);
        let expected = numbers(&case["found"]);
        assert_eq!(found.into_iter().map(u64::from).collect::<Vec<_>>(), expected, "groups of {texts}");
    }
}

#[test]
fn a_permutation_has_every_place_once() {
    let few = (1..=130).chain([255, 256, 257, 1000, 1009, 2047, 2048, 2049, 4095, 4096]);
    let counts: Vec<u64> = if thorough() { (1..=4096).collect() } else { few.collect() };
    for count in counts.into_iter().chain([1_000_092]) {
        let permutation = permutation(count, count);
        let mut seen = vec![false; count as usize];
        (0..count).for_each(|place| seen[permutation.at(place) as usize] = true);
        assert!(seen.into_iter().all(|seen| seen), "{count}");
    }
}

/// 24 orders are equally frequent: chi square with 23 degrees of freedom stays below 49.7, which 1 in 1,000 seeds would pass.
#[test]
fn four_samples_come_in_all_24_orders() {
    let mut seen: BTreeMap<Vec<u64>, f64> = BTreeMap::new();
    const DRAWN: u64 = 24_000;
    for number in 0..DRAWN {
        let permutation = permutation(4, number);
        *seen.entry((0..4).map(|place| permutation.at(place)).collect()).or_default() += 1.0;
    }
    let expected = DRAWN as f64 / 24.0;
    let chi_square: f64 = seen.values().map(|count| (count - expected).powi(2) / expected).sum();
    assert!(seen.len() == 24 && chi_square < 49.7, "{} orders, chi square {chi_square}", seen.len());
}

#[test]
fn samples_move_by_a_third_of_their_number() {
    const COUNT: u64 = 200_000;
    let permutation = permutation(COUNT, 0);
    let moved: u64 = (0..COUNT).map(|place| place.abs_diff(permutation.at(place))).sum();
    let mean = moved as f64 / (COUNT * COUNT) as f64;
    assert!((mean - 1.0 / 3.0).abs() < 0.002, "{mean}");
}

#[test]
fn every_order_but_a_mix_brings_each_sample_once_an_epoch() {
    for count in [1, 2, 3, 16, 17, 61, 100, 1009] {
        let rows = rows(count);
        let grouped = [1, 2, 3, 4, 8, 64].map(|texts| Order::GroupedByVolume { seed: SEED, texts });
        let buckets = [(1, 1), (4, 2), (48, 16), (usize::MAX, 3)].map(|(window, unit)| Order::LengthBuckets {
            seed: SEED,
            window,
            unit,
        });
        for order in [Order::ById, Order::Shuffled { seed: SEED }].into_iter().chain(grouped).chain(buckets) {
            let sequence = sequence(&rows, order.clone());
            let epochs: Vec<Vec<u32>> =
                (0..3).map(|epoch| taken(&sequence, epoch * count as u64..(epoch + 1) * count as u64)).collect();
            for epoch in &epochs {
                assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), count, "{order:?} of {count}");
            }
            let differ = epochs[0] != epochs[1] && epochs[1] != epochs[2];
            assert!(count < 16 || differ == (order != Order::ById), "{order:?} of {count}");
            // Backwards too: what comes at a position depends on nothing else.
            let all = epochs.concat();
            let backwards = taken(&sequence, (0..all.len() as u64).rev());
            assert!(backwards.iter().rev().eq(&all));
        }
        let one = sequence(&rows, Order::GroupedByVolume { seed: SEED, texts: 1 });
        let shuffled = sequence(&rows, Order::Shuffled { seed: SEED });
        assert_eq!(taken(&one, 0..2 * count as u64), taken(&shuffled, 0..2 * count as u64));
    }
}

#[test]
fn units_of_a_bucket_have_like_lengths_and_no_order_by_length() {
    const UNIT: usize = 16;
    let rows = rows(1009);
    let length = |sample: &u32| rows[*sample as usize].ids.len();
    let padding = |order| {
        let found = taken(&sequence(&rows, order), 0..1008);
        let padded: usize = found.chunks(UNIT).map(|unit| UNIT * unit.iter().map(length).max().unwrap()).sum();
        (1.0 - found.iter().map(length).sum::<usize>() as f64 / padded as f64, found)
    };
    let (shuffled, _) = padding(Order::Shuffled { seed: SEED });
    let of = |units: usize| padding(Order::LengthBuckets { seed: SEED, window: units * UNIT, unit: UNIT });
    // The more is sorted together, the less is padding.
    let shares = [shuffled, of(4).0, of(16).0, of(63).0];
    assert!(shares.windows(2).all(|pair| pair[1] < pair[0]) && shuffled > 0.3 && shares[3] < 0.02, "{shares:?}");
    let (_, found) = of(16);
    // Neither units come by length, nor samples inside of them: the longest is as often in the first half as in the last.
    let late = |part: &[u32]| part.iter().map(length).rposition(|own| own == part.iter().map(length).max().unwrap());
    let in_last_half = found.chunks(UNIT).filter(|unit| late(unit).unwrap() >= UNIT / 2).count();
    assert!(in_last_half < 63, "{in_last_half}");
    let longest: Vec<usize> = found.chunks(UNIT).map(|unit| unit.iter().map(length).max().unwrap()).collect();
    assert!(!longest[..16].is_sorted() && !longest[..16].iter().rev().is_sorted());
}

#[test]
fn seed_epoch_and_selection_each_matter() {
    let keys = |selection: u8, seed, epoch| Keys::new(&[selection; 32], seed, epoch, "epoch");
    let all = [keys(1, 1, 0), keys(1, 2, 0), keys(1, 1, 1), keys(2, 1, 0), keys(1, 1, 0).of(0), keys(1, 1, 0).of(1)];
    assert!((0..all.len()).all(|a| (0..a).all(|b| all[a] != all[b])));
    assert_eq!(keys(1, 1, 0), keys(1, 1, 0));
}

#[test]
fn shares_of_a_mix_are_exact_at_every_block() {
    let rows = rows(1009);
    for stated in [[0.5, 0.25, 0.25], [1.0, 1.0, 1.0], [0.7, 0.1, 0.2], [1.0, 1e-9, 1e-9], [1e6, 3.0, 0.5]] {
        let sequence = sequence(&rows, mix(stated, &[]));
        let blocks = if thorough() { 200 } else { 40 };
        let (mut walk, mut counts) = (sequence.walk(), [0u64; 3]);
        let mut drawn = vec![0u64; rows.len()];
        for position in 0..blocks * BLOCK {
            let sample = walk.at(position) as usize;
            counts[rows[sample].task as usize] += 1;
            drawn[sample] += 1;
            if (position + 1) % BLOCK == 0 {
                for (count, weight) in counts.iter().zip(stated) {
                    let exact = (position + 1) as f64 * weight / stated.iter().sum::<f64>();
                    assert!((*count as f64 - exact).abs() < 1.0 + 1e-6, "{counts:?} at {position}");
                }
            }
        }
        // Each task goes through its samples evenly.
        for &task in Task::ALL {
            let own = || drawn.iter().zip(&rows).filter(|(_, row)| row.task == task).map(|(drawn, _)| *drawn);
            // A block that both epochs of a source touch may bring the later one's samples first.
            assert!(own().max().unwrap() - own().min().unwrap() <= 2, "{task}");
        }
    }
}

/// Captions alone, then mixed, then no captions: what came before a change is as without it, and shares are exact behind it.
#[test]
fn weights_change_where_it_is_said_and_each_task_goes_on_where_it_was() {
    let rows = rows(1009);
    let stated = [(0, [1.0, 0.0, 0.0]), (3000, [0.5, 0.25, 0.25]), (4000, [1.0, 1.0, 1.0]), (20_000, [0.0, 2.0, 1.0])];
    let whole = sequence(&rows, mix(stated[0].1, &stated[1..]));
    let found = taken(&whole, 0..40_000);
    for later in 2..4 {
        let before = taken(&sequence(&rows, mix(stated[0].1, &stated[1..later])), 0..stated[later].0);
        assert_eq!(found[..stated[later].0 as usize], before);
    }
    let mut of_task: [Vec<u32>; 3] = Default::default();
    for (position, sample) in (1..).zip(&found) {
        of_task[rows[*sample as usize].task as usize].push(*sample);
        let segment = stated.iter().rposition(|(from, _)| *from < position).unwrap();
        let (from, weights) = stated[segment];
        if position % BLOCK == 0 {
            for (task, weight) in weights.into_iter().enumerate() {
                let inside = &found[from as usize..position as usize];
                let count = inside.iter().filter(|sample| rows[**sample as usize].task as usize == task).count();
                let exact = (position - from) as f64 * weight / weights.iter().sum::<f64>();
                assert!((count as f64 - exact).abs() < 1.0 + 1e-6, "{task} at {position}: {count}, {exact}");
            }
        }
    }
    // Each task's samples evenly, across all changes.
    for (task, own) in of_task.iter().enumerate() {
        let mut drawn: BTreeMap<u32, usize> = BTreeMap::new();
        own.iter().for_each(|sample| *drawn.entry(*sample).or_default() += 1);
        let members = rows.iter().filter(|row| row.task as usize == task).count();
        assert!(drawn.len() == members && drawn.values().max().unwrap() - drawn.values().min().unwrap() <= 2, "{task}");
    }
    // Backwards too.
    assert!(taken(&whole, (0..40_000).rev()).iter().rev().eq(&found));
}

/// Volumes that groups read, over their texts: 120,092 volumes, a caption of each and the other texts drawn over 80 % of them, as
/// M3D's are; a twentieth of it where not thorough. No grouping reads a volume less often than `ceil(texts / k)` times.
#[test]
fn groups_save_reads() {
    let by = if thorough() { 1 } else { 20 };
    let (volumes, texts) = (120_092 / by, 1_000_092 / by);
    let mut state = 88_172_645_463_325_252u64;
    let mut drawn = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % (volumes * 8 / 10)
    };
    let rows: Vec<SampleRow> = (0..texts)
        .map(|number| row(number, Task::Caption, Some(if number < volumes { number } else { drawn() })))
        .collect();
    let mut of_volume = vec![0usize; volumes];
    let volume = |text: u32| u64::from_be_bytes(rows[text as usize].volume_ids[0].0[..8].try_into().unwrap()) as usize;
    (0..texts as u32).for_each(|text| of_volume[volume(text)] += 1);
    let mut found = Vec::new();
    for (k, most) in [(1, 1.0), (2, 1.001), (4, 1.01), (8, 1.03), (16, 1.25)] {
        let order = taken(&sequence(&rows, Order::GroupedByVolume { seed: SEED, texts: k }), 0..texts as u64);
        let distinct = |group: &[u32]| group.iter().map(|text| volume(*text)).collect::<HashSet<_>>().len();
        let reads: usize = order.chunks(k).map(distinct).sum();
        let least: usize = of_volume.iter().map(|texts| texts.div_ceil(k)).sum();
        assert!(
            least <= reads && reads as f64 <= most * least as f64,
            "groups of {k}: {reads} reads, {least} at least"
        );
        found.push((100.0 * reads as f64 / texts as f64).round() as u32);
    }
    // The figures of docs/train.md, in hundredths.
    assert!(found.iter().zip([100, 54, 30, 19, 15]).all(|(found, said)| found.abs_diff(said) <= 1), "{found:?}");
}

#[test]
fn what_does_not_fit_is_one_clear_error() {
    let said = |result: Result<Sequence, FeedError>| result.unwrap_err().to_string();
    let new = |rows: &[SampleRow], order: Order| Sequence::new(&selection(), &Samples::of_rows(rows), &order);
    assert_eq!(said(new(&[], Order::ById)), "the selection: expected 1 to 4294967295 samples, found 0");
    let none = Order::GroupedByVolume { seed: 1, texts: 0 };
    assert_eq!(said(new(&rows(3), none)), "the order: expected groups of 1 text or more, found 0");
    let buckets = |window, unit| said(new(&rows(3), Order::LengthBuckets { seed: 1, window, unit }));
    assert_eq!(buckets(4, 0), "the order: expected units of 1 text or more, found 0");
    assert_eq!(buckets(0, 2), "the order: expected a window of a multiple of 2 texts, its units, found 0");
    assert_eq!(buckets(5, 2), "the order: expected a window of a multiple of 2 texts, its units, found 5");
    let weights = |stated: [f64; 3]| Weights::new(Task::ALL.iter().copied().zip(stated));
    for (stated, problem) in [
        ([0.0; 3], "the mix: expected weights that sum to more than 0, found 0"),
        ([1.0, -0.5, 1.0], "the mix: expected a weight of open_vqa of 0 to 1000000, found -0.5"),
        ([f64::NAN, 0.5, 1.0], "the mix: expected a weight of caption of 0 to 1000000, found NaN"),
        ([1.0, 0.5, f64::INFINITY], "the mix: expected a weight of closed_vqa of 0 to 1000000, found inf"),
    ] {
        assert_eq!(weights(stated).unwrap_err().to_string(), problem);
    }
    let captions: Vec<SampleRow> = (0..3).map(|number| row(number, Task::Caption, None)).collect();
    let mix = |stated| Order::Mix { seed: 1, weights: weights(stated).unwrap(), then: Changes::default() };
    let problem = "the mix: expected samples of open_vqa, which has a weight, found none in the selection";
    assert_eq!(said(new(&captions, mix([0.5, 0.5, 0.0]))), problem);
    let problem = "the mix: expected a weight of caption, found 3 samples of it in the selection and no weight";
    assert_eq!(said(new(&captions, mix([0.0, 0.5, 0.0]))), problem);

    // A task may wait for its weight, but not for ever.
    let later = |first, later| Order::Mix {
        seed: 1,
        weights: weights(first).unwrap(),
        then: Changes::new(vec![(1000, weights(later).unwrap())]).unwrap(),
    };
    assert!(new(&rows(30), later([1.0, 0.0, 0.0], [0.0, 1.0, 1.0])).is_ok());
    let problem = "the mix: expected samples of open_vqa, which has a weight, found none in the selection";
    assert_eq!(said(new(&captions, later([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))), problem);
    let changes = |places: &[u64]| {
        let same = weights([1.0, 2.0, 3.0]).unwrap();
        Changes::new(places.iter().map(|from| (*from, same)).collect()).map_err(|error| error.to_string())
    };
    for (places, least, found) in
        [(&[0][..], 1000, "0"), (&[1500], 1000, "1500"), (&[2000, 2000], 3000, "2000"), (&[3000, 1000], 4000, "1000")]
    {
        let problem =
            format!("the mix: expected a change of weights at a multiple of 1000, {least} or more, found {found}");
        assert_eq!(changes(places), Err(problem));
    }
    let many: Vec<u64> = (1..100).map(|number| 1000 * number).collect();
    assert!(changes(&many[..12]).is_ok());
    let problem = changes(&many).unwrap_err();
    assert!(problem.ends_with("found 99 that take 1576") && problem.contains("240 bytes of a cursor"), "{problem}");

    let steps = |samples, epochs, batch, tail, start| Steps::new(samples, epochs, batch, tail, start);
    let problem = "epochs: expected at most 1844674407370955161 epochs of 10 samples, found 18446744073709551615";
    assert_eq!(steps(10, u64::MAX, 1, Tail::Keep, 0).unwrap_err().to_string(), problem);
    let problem = "the cursor's position: expected at most 30, the end of 3 epochs of 10 samples, found 31";
    assert_eq!(steps(10, 3, 1, Tail::Keep, 31).unwrap_err().to_string(), problem);
    let problem = "the batch: expected at most 1, the samples of an epoch, where a shorter step is left out, found 2";
    assert_eq!(steps(1, 3, 2, Tail::Drop, 0).unwrap_err().to_string(), problem);
    // One sample is a run.
    assert_eq!(steps(1, 3, 2, Tail::Keep, 0).unwrap().count(), 3);
    assert_eq!(steps(1, 3, 2, Tail::Straddle, 0).unwrap().count(), 2);
    assert_eq!(taken(&sequence(&rows(1), Order::Shuffled { seed: 1 }), 0..3), [0; 3]);
    assert_eq!(taken(&sequence(&captions[..1], mix([1.0, 0.0, 0.0])), 0..3), [0; 3]);
}

/// Positions of all steps, a list each.
fn stepped(steps: &Steps) -> Vec<Vec<u64>> {
    (0..steps.count()).map(|step| steps.positions(step).collect()).collect()
}

#[test]
fn tails_are_kept_dropped_or_filled_from_the_next_epoch() {
    let of = |tail, start| stepped(&Steps::new(5, 2, 2, tail, start).unwrap());
    assert_eq!(of(Tail::Keep, 0), [vec![0, 1], vec![2, 3], vec![4], vec![5, 6], vec![7, 8], vec![9]]);
    assert_eq!(of(Tail::Drop, 0), [[0, 1], [2, 3], [5, 6], [7, 8]]);
    assert_eq!(of(Tail::Straddle, 0), [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]);
    assert_eq!(of(Tail::Keep, 3), [vec![3, 4], vec![5, 6], vec![7, 8], vec![9]]);
    assert_eq!(of(Tail::Drop, 4), [[5, 6], [7, 8]]);
    assert_eq!(of(Tail::Straddle, 9), [[9]]);
    for tail in [Tail::Keep, Tail::Drop, Tail::Straddle] {
        assert!(of(tail, 10).is_empty());
    }
}

/// From each position behind a step, with the same batch, the steps that are left are the steps that were left.
#[test]
fn steps_go_on_from_any_position() {
    for (samples, epochs, batch) in [(1, 3, 1), (1, 3, 2), (5, 3, 2), (6, 2, 3), (7, 3, 7), (7, 2, 8), (101, 3, 8)] {
        for tail in [Tail::Keep, Tail::Drop, Tail::Straddle] {
            let Ok(whole) = Steps::new(samples, epochs, batch, tail, 0) else { continue };
            let all = stepped(&whole);
            for step in 0..whole.count() {
                let rest = Steps::new(samples, epochs, batch, tail, whole.position_after(step)).unwrap();
                assert_eq!(stepped(&rest), all[step as usize + 1..], "{samples} {batch} {tail:?} after {step}");
            }
            // With any other batch all that is left comes, but for what is dropped.
            for start in 0..=samples * epochs {
                for batch in [1, 2, 5] {
                    let Ok(rest) = Steps::new(samples, epochs, batch, tail, start) else { continue };
                    let found = stepped(&rest).concat();
                    let is_whole = tail == Tail::Drop || found == (start..samples * epochs).collect::<Vec<_>>();
                    assert!(is_whole && found.is_sorted(), "{samples} {batch} {tail:?} from {start}");
                }
            }
        }
    }
}

#[test]
fn ranks_share_a_step_in_whole_groups() {
    assert_eq!((0..3).map(|rank| share(8, 1, rank, 3)).collect::<Vec<_>>(), [0..2, 2..5, 5..8]);
    assert_eq!((0..3).map(|rank| share(10, 4, rank, 3)).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
    assert_eq!((0..3).map(|rank| share(1, 1, rank, 3)).collect::<Vec<_>>(), [0..0, 0..0, 0..1]);
    for (samples, unit, ranks) in [(0, 1, 3), (7, 2, 5), (64, 8, 8), (usize::MAX / 2, 1, 7)] {
        let shares: Vec<_> = (0..ranks).map(|rank| share(samples, unit, rank, ranks)).collect();
        assert!(shares[0].start == 0 && shares[ranks - 1].end == samples);
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}

fn cursor(order: Order) -> FeedCursor {
    FeedCursor { position: u64::MAX, ..FeedCursor::start([0xab; 32], order, Tail::Straddle) }
}

#[test]
fn a_cursor_is_a_short_text_that_reads_back() {
    let seed = u64::MAX;
    let widest = weights([1e6, 1e6 - 1e-9, 1e6 - 3e-9]);
    // As many as fit.
    let most: Vec<_> = [1, 2, 3].map(|place| (u64::MAX / 1000 * 1000 - 1000 * (4 - place), widest)).into();
    for order in [
        Order::ById,
        Order::Shuffled { seed },
        Order::GroupedByVolume { seed, texts: usize::MAX },
        Order::LengthBuckets { seed, window: usize::MAX, unit: usize::MAX },
        Order::Mix { seed, weights: widest, then: Changes::default() },
        Order::Mix { seed, weights: widest, then: Changes::new(most).unwrap() },
    ] {
        let text = cursor(order.clone()).to_json();
        assert!(text.len() <= 512, "{} {text}", text.len());
        assert_eq!(FeedCursor::from_json(text.as_bytes()).unwrap(), cursor(order));
    }
    let text = FeedCursor { position: 12, ..cursor(Order::Shuffled { seed: 3 }) }.to_json();
    let hash = "ab".repeat(32);
    let expected = format!(
        r#"{{"format":2,"revision":2,"selection":"{hash}","order":{{"shuffled":{{"seed":3}}}},"tail":"straddle","position":12}}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn a_cursor_that_is_none_is_refused() {
    let good = cursor(Order::Shuffled { seed: 3 }).to_json();
    let said = |text: &str| FeedCursor::from_json(text.as_bytes()).unwrap_err().to_string();
    for (from, to, problem) in [
        ("\"format\":2", "\"format\":3", "expected a cursor of format 2, found one of format 3"),
        ("\"format\":2,", "", "expected a cursor of format 2, found one that states no format"),
        ("\"revision\":2", "\"revision\":1", "expected a cursor of revision 2, found one of revision 1"),
        ("abab", "xyab", "expected 64 hex digits"),
        ("abab", "ab", "expected 64 hex digits"),
        ("18446744073709551615", "-1", "invalid value"),
        ("shuffled", "stirred", "stirred"),
        ("\"tail\"", "\"head\"", "head"),
        ("}", "", "EOF"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert!(changed != good && said(&changed).contains(problem), "{changed}: {}", said(&changed));
    }
    let earlier = said(r#"{"epoch":1,"batch":3}"#);
    assert!(earlier.contains("batch 3 of epoch 1") && earlier.contains("another order"), "{earlier}");
    // The memory of a text of 2 GiB is never touched.
    let problem = FeedCursor::from_json(&vec![0; 2 << 30]).unwrap_err().to_string();
    assert_eq!(problem, "the cursor: expected at most 512 bytes, found 2147483648 bytes");
}

#[test]
fn a_cursor_of_something_else_is_refused_and_both_are_named() {
    let now = FeedCursor::start([1; 32], Order::Shuffled { seed: 3 }, Tail::Keep);
    now.check(&FeedCursor { position: 9, ..now.clone() }).unwrap();
    let said = |there: FeedCursor| there.check(&now).unwrap_err().to_string();
    let (ours, theirs) = ("01".repeat(32), "02".repeat(32));
    assert_eq!(
        said(FeedCursor { selection: [2; 32], ..now.clone() }),
        format!("the selection: expected {ours}, as is fed now, found {theirs} in the cursor")
    );
    let of = |order| said(FeedCursor { order, ..now.clone() });
    assert_eq!(of(Order::Shuffled { seed: 4 }), "the seed: expected 3, as is fed now, found 4 in the cursor");
    assert!(of(Order::ById).starts_with("the order: expected "), "{}", of(Order::ById));
    let tail = said(FeedCursor { tail: Tail::Drop, ..now.clone() });
    assert_eq!(tail, "the tail: expected \"keep\", as is fed now, found \"drop\" in the cursor");
}

#[test]
fn a_mix_goes_on_with_other_weights_from_a_later_sample_alone() {
    let (half, other) = ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]);
    let at = |order: &Order, position| {
        let cursor = FeedCursor { position, ..FeedCursor::start([1; 32], order.clone(), Tail::Keep) };
        FeedCursor::from_json(cursor.to_json().as_bytes()).unwrap()
    };
    let (before, changed) = (mix(half, &[]), mix(half, &[(3000, other)]));
    assert_eq!(
        at(&before, 2001).check(&FeedCursor::start([1; 32], mix(other, &[]), Tail::Keep)).unwrap_err().to_string(),
        "the mix: expected {\"mix\":{\"weights\":[2,1,1]}}, by which the first 2001 samples came; others may follow from 3000 on, \
         found {\"mix\":{\"weights\":[1,2,1]}}"
    );
    let now = |now: &Order| FeedCursor::start([1; 32], now.clone(), Tail::Keep);
    for position in [0, 1, 2999, 3000] {
        // What does not matter yet is not in the cursor.
        assert_eq!(at(&changed, position), at(&before, position));
        for (there, here) in [(&before, &changed), (&changed, &before), (&changed, &changed)] {
            at(there, position).check(&now(here)).unwrap();
        }
    }
    let later = at(&changed, 3001);
    later.check(&now(&changed)).unwrap();
    later.check(&now(&mix(half, &[(3000, other), (4000, half)]))).unwrap();
    for other_way in [&before, &mix(half, &[(2000, other)]), &mix(half, &[(3000, half)])] {
        let problem = later.check(&now(other_way)).unwrap_err().to_string();
        assert!(problem.contains("[[3000,[1,2,1]]]") && problem.contains("from 4000 on"), "{problem}");
    }
    // Weights as they stood in cursors before they were divided, and such as no cursor has.
    let text = at(&before, 5).to_json();
    assert_eq!(FeedCursor::from_json(text.replace("[2,1,1]", "[500,250,250]").as_bytes()).unwrap(), at(&before, 5));
    for (from, to, problem) in [
        ("[2,1,1]", "[0,0,0]", "weights that sum to more than 0"),
        ("[2,1,1]", "[-2,1,1]", "invalid value"),
        ("[2,1,1]", "[18446744073709551615,1,1]", "weights of 0 to 1000000000000000"),
        ("[2,1,1]", "[2,1,1],\"then\":[[1500,[1,1,1]]]", "a multiple of 1000"),
        ("[2,1,1]", "[2,1,1],\"than\":[]", "than"),
    ] {
        let said = FeedCursor::from_json(text.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(said.contains(problem), "{said}");
    }
}
