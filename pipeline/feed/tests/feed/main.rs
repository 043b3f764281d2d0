//! The feed against a dataset written to disk: every sample once an epoch, in the same order whatever the threads, and
//! the same batches after a resume.

use std::path::Path;
use std::sync::Arc;

use med2e3_feed::step_plan::PlannedText;
use med2e3_feed::{
    Budget, Changes, Feed, FeedPlan, HostBatch, HostText, LossGroup, OnBadSample, Order, QuestionForm, Splicing,
    StepRule, Tail, TextForm, TextLayout, Weights,
};
use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::sample::{IMAGE3D, SampleRow, Split, Task};
use med2e3_shards::{Dataset, Samples, Selection};

mod changed_files;
mod dataset;

use dataset::{VOLUMES, many, many_as, open, volume_id, write_as};

fn write(root: &Path) {
    write_as(root, VoxelCodec::Zstd1);
}

fn plan(readers: usize, depth: usize) -> FeedPlan {
    FeedPlan {
        order: Order::Shuffled { seed: 3 },
        tail: Tail::Keep,
        form: TextForm::Conversation,
        question: QuestionForm::Llm,
        batch_size: 3,
        rule: StepRule::WHOLE,
        epochs: 3,
        start: 0,
        rank: 0,
        world_size: 1,
        readers,
        depth,
        on_bad_sample: OnBadSample::Fail,
    }
}

/// A text of a batch, on its own.
#[derive(Debug, PartialEq)]
struct Text {
    sample: u32,
    sample_id: Id,
    ids: Vec<i64>,
    labels: Vec<i64>,
    volumes: Vec<usize>,
    question_ids: Vec<i64>,
    target_weight: f32,
}

fn texts(batch: &HostBatch) -> Vec<Text> {
    let own = |text: HostText<'_>| Text {
        sample: text.sample,
        sample_id: text.sample_id,
        ids: text.ids.to_vec(),
        labels: text.labels.to_vec(),
        volumes: text.volumes().collect(),
        question_ids: text.question_ids.to_vec(),
        target_weight: text.target_weight,
    };
    batch.texts().map(own).collect()
}

/// Texts, distinct volumes, voxels, position.
type Gist = (Vec<Text>, Vec<Id>, Vec<u8>, u64);

/// What a batch says, without its buffers.
fn gist(batch: &HostBatch) -> Gist {
    (texts(batch), batch.volume_ids.clone(), batch.voxels.to_vec(), batch.position)
}

const fn layout(form: TextForm, question: QuestionForm) -> TextLayout {
    TextLayout { form, question }
}

fn planned(positions: &[u32]) -> Vec<PlannedText> {
    positions.iter().map(|&position| PlannedText { position, target_weight: 1.0 }).collect()
}

fn run(root: &Path, plan: FeedPlan) -> Vec<Gist> {
    let (dataset, samples) = open(root, &[Task::Caption, Task::OpenVqa]);
    let mut feed = Feed::start(dataset, samples, plan).unwrap();
    let mut gists = Vec::new();
    while let Some(batch) = feed.next_batch() {
        gists.push(gist(&batch.unwrap()));
    }
    gists
}

#[test]
fn every_sample_comes_once_an_epoch_with_its_own_voxels() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let rows = dataset.rows(&samples).unwrap();
    assert_eq!((samples.len(), samples.without_volume), (2 * (VOLUMES - 1), 2));
    let gists = run(folder.path(), plan(2, 2));
    let per_epoch = samples.len().div_ceil(3);
    assert_eq!(gists.len(), 3 * per_epoch);
    for epoch in gists.chunks(per_epoch) {
        let mut seen: Vec<u32> = epoch.iter().flat_map(|gist| gist.0.iter().map(|text| text.sample)).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..samples.len() as u32));
    }
    for (texts, volumes, voxels, _) in &gists {
        for text in texts {
            let row = &rows[text.sample as usize];
            assert_eq!((text.sample_id, text.volumes.len()), (row.sample_id, 1));
            let place = text.volumes[0];
            assert_eq!(volumes[place], row.volume_ids[0]);
            assert!(voxels[place * 32..(place + 1) * 32].iter().all(|&code| i32::from(code) == row.ids[2]));
            assert!(text.ids.iter().eq(row.ids.iter().map(|id| i64::from(*id)).collect::<Vec<_>>().iter()));
            let (start, end) = row.target_spans[0];
            for (t, (label, id)) in text.labels.iter().zip(&text.ids).enumerate() {
                let is_target = (start as usize..end as usize).contains(&t);
                assert_eq!(*label, if is_target { *id } else { -100 });
            }
        }
        let shown: Vec<usize> = texts.iter().flat_map(|text| text.volumes.clone()).collect();
        assert!((0..volumes.len()).all(|place| shown.contains(&place)) && voxels.len() == 32 * volumes.len());
    }
}

/// Steps of up to three texts, cut into micro-batches of one or two.
fn cut_rule() -> StepRule {
    StepRule {
        splicing: Splicing { visual_tokens: 4, max_length: 100 },
        loss_group: LossGroup::Of(2),
        budget: Budget { tokens: 22, volumes: 2 },
        width_multiple: 1,
    }
}

#[test]
fn a_step_comes_in_micro_batches_with_one_position() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let whole = run(folder.path(), plan(1, 1));
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let cut = FeedPlan { rule: cut_rule(), ..plan(2, 1) };
    let mut feed = Feed::start(dataset, samples, cut).unwrap();
    for (texts, _, _, position) in whole {
        let mut found = Vec::new();
        loop {
            let batch = feed.next_batch().unwrap().unwrap();
            assert_eq!((batch.position, batch.share.micro_batch <= found.len()), (position, true));
            found.extend(batch.texts().map(|text| text.sample));
            if batch.share.ends_step() {
                break;
            }
        }
        let mut expected: Vec<u32> = texts.iter().map(|text| text.sample).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    assert!(feed.next_batch().is_none());
}

#[test]
fn order_is_the_same_for_any_number_of_readers_and_any_depth() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let reference = run(folder.path(), plan(1, 1));
    for (readers, depth) in [(2, 1), (3, 4), (7, 2)] {
        assert_eq!(run(folder.path(), plan(readers, depth)), reference, "{readers} readers, depth {depth}");
        let cut = |readers, depth| FeedPlan { rule: cut_rule(), ..plan(readers, depth) };
        assert_eq!(run(folder.path(), cut(readers, depth)), run(folder.path(), cut(1, 1)), "{readers} readers, cut");
    }
}

#[test]
fn a_resumed_feed_goes_on_where_the_cursor_says() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let reference = run(folder.path(), plan(2, 2));
    for stop in [1, 6, 7, 13] {
        let start = reference[stop - 1].3;
        assert_eq!(run(folder.path(), FeedPlan { start, ..plan(3, 1) }), reference[stop..], "after {stop}");
    }
}

#[test]
fn prompts_end_where_the_answer_begins_and_pretrain_holds_captions_only() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption]);
    let mut batch = HostBatch::default();
    let mut fill = |dataset: &Dataset, samples: &Samples, positions: &[u32], form| {
        batch.fill(dataset, samples, &planned(positions), layout(form, QuestionForm::Llm))?;
        Ok::<_, med2e3_feed::FeedError>(texts(&batch))
    };
    let prompts = fill(&dataset, &samples, &[0, 1], TextForm::Prompt).unwrap();
    assert!(prompts.iter().all(|text| text.ids.len() == 3 && text.labels == [-100; 3]));
    let text = &fill(&dataset, &samples, &[0], TextForm::Pretrain).unwrap()[0];
    assert_eq!((text.ids[0], text.labels[0]), (i64::from(IMAGE3D), -100));
    assert_eq!(text.labels[1..], text.ids[1..]);

    let (dataset, samples) = open(folder.path(), &[Task::OpenVqa]);
    assert!(fill(&dataset, &samples, &[0], TextForm::Pretrain).is_err());
}

#[test]
fn a_row_brings_each_volume_that_its_text_shows() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption]);
    let mut rows = dataset.rows(&samples).unwrap();
    let first = rows[0].clone();
    let several = |ids: Vec<i32>, volumes: &[usize]| SampleRow {
        target_spans: vec![(ids.len() as u32 - 1, ids.len() as u32)],
        volume_ids: volumes.iter().map(|&i| volume_id(i)).collect(),
        ids,
        ..first.clone()
    };
    rows[0] = several(vec![1, IMAGE3D, 5, IMAGE3D, 6], &[2, 7]);
    rows[1] = several(vec![1, 5, 6], &[3]);
    rows[2] = several(vec![IMAGE3D, IMAGE3D, 6], &[1]);
    let mut batch = HostBatch::default();
    let mut fill = |positions: &[u32]| {
        batch.fill(
            &dataset,
            &Samples::of_rows(&rows),
            &planned(positions),
            layout(TextForm::Conversation, QuestionForm::Llm),
        )?;
        let shown: Vec<Vec<usize>> = batch.texts().map(|text| text.volumes().collect()).collect();
        Ok::<_, med2e3_feed::FeedError>((shown, batch.voxels.to_vec()))
    };
    let (shown, voxels) = fill(&[1, 0, 3, 0]).unwrap();
    assert_eq!(shown, [vec![], vec![0, 1], vec![2], vec![0, 1]]);
    let cell = dataset.voxels().cell_bytes();
    let last = rows[3].volume_ids[0];
    let number = (0..VOLUMES).find(|&i| volume_id(i) == last).unwrap();
    assert_eq!(voxels, [vec![2; cell], vec![7; cell], vec![number as u8; cell]].concat());
    let error = fill(&[2]).unwrap_err().to_string();
    assert!(error.contains("show 2 volumes, it names 1"), "{error}");
}

#[test]
fn questions_come_in_the_tokens_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption]);
    let mut rows = dataset.rows(&samples).unwrap();
    rows[1].question_ids_bert = Some(vec![2, 3]);
    let mut batch = HostBatch::default();
    let bert = layout(TextForm::Prompt, QuestionForm::Bert);
    batch.fill(&dataset, &Samples::of_rows(&rows), &planned(&[0, 1]), bert).unwrap();
    let first = i64::from(rows[0].question_ids_bert.as_ref().unwrap()[1]);
    assert_eq!((batch.text(0).question_ids, batch.text(1).question_ids), (&[2, first, 3][..], &[2, 3][..]));
    assert_eq!((batch.questions.as_ref(), batch.question_width), (&[2, first, 3, 2, 3, 0][..], 3));
    rows[1].question_ids_bert = None;
    let error = batch.fill(&dataset, &Samples::of_rows(&rows), &planned(&[1]), bert).unwrap_err().to_string();
    assert!(error.contains("text.question_tokenizer"), "{error}");
}

#[test]
fn an_error_in_one_batch_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let mut feed =
        Feed::start(dataset, samples, FeedPlan { form: TextForm::Pretrain, batch_size: 1, ..plan(2, 1) }).unwrap();
    let results: Vec<bool> = std::iter::from_fn(|| feed.next_batch()).map(|batch| batch.is_ok()).collect();
    assert!(results.contains(&true) && results.contains(&false));
}

#[test]
fn a_selection_without_samples_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let dataset = Dataset::open(folder.path()).unwrap();
    let selection = Selection { split: Split::Test, tasks: vec![Task::ClosedVqa], subset: None };
    let error = dataset.select(&selection).err().unwrap().to_string();
    assert!(error.contains("split test and task closed_vqa"), "{error}");
}

/// The samples of a run in order: of each step those of rank 0, then those of rank 1 and so on. Every sample has its own voxels.
fn sequence(dataset: &Arc<Dataset>, samples: &Arc<Samples>, plan: &FeedPlan) -> Vec<u32> {
    let mut feeds: Vec<Feed> = (0..plan.world_size)
        .map(|rank| Feed::start(dataset.clone(), samples.clone(), FeedPlan { rank, ..plan.clone() }).unwrap())
        .collect();
    let steps = plan.steps(samples.len()).unwrap();
    let mut found = Vec::new();
    for step in 0..steps.count() {
        let mut count = 0;
        for feed in &mut feeds {
            // Every rank makes every step, although it may have no sample of it.
            let batch = feed.next_batch().unwrap().unwrap();
            assert_eq!(batch.position, steps.position_after(step));
            for text in texts(&batch) {
                let code = batch.voxels[32 * text.volumes[0]];
                assert_eq!(i32::from(code), samples.text(text.sample as usize).unwrap().ids[2]);
            }
            count += batch.len() as u64;
            found.extend(batch.texts().map(|text| text.sample));
        }
        let positions = steps.positions(step);
        assert_eq!(count, positions.end - positions.start);
    }
    assert!(feeds.iter_mut().all(|feed| feed.next_batch().is_none()));
    found
}

fn orders() -> [Order; 6] {
    let weights = |stated: [f64; 3]| Weights::new(Task::ALL.iter().copied().zip(stated)).unwrap();
    let (seed, first) = (3, weights([0.5, 0.3, 0.2]));
    let then = Changes::new(vec![(1000, weights([0.2, 0.2, 0.6])), (2000, weights([0.0, 1.0, 1.0]))]).unwrap();
    [
        Order::Shuffled { seed },
        Order::GroupedByVolume { seed, texts: 8 },
        Order::LengthBuckets { seed, window: 64, unit: 8 },
        Order::Mix { seed, weights: first, then: Changes::default() },
        Order::Mix { seed, weights: first, then },
        Order::ById,
    ]
}

/// Whether every combination is tried rather than some.
fn is_thorough() -> bool {
    std::env::var_os("MED2E3_THOROUGH").is_some()
}

#[test]
fn ranks_readers_batches_and_codecs_change_nothing_in_the_sequence() {
    let (_folder, dataset, samples) = many(1009);
    let by_codec = [VoxelCodec::Lz4, VoxelCodec::None].map(|codec| many_as(1009, codec));
    let all = |world_size: usize, readers: usize, batch_size: usize, order: &Order| FeedPlan {
        order: order.clone(),
        world_size,
        batch_size,
        ..plan(readers, 2)
    };
    for order in orders() {
        let reference = sequence(&dataset, &samples, &all(1, 1, 64, &order));
        assert_eq!(reference.len(), 3 * 1009);
        for (_folder, dataset, samples) in &by_codec {
            assert!(sequence(dataset, samples, &all(3, 2, 64, &order)) == reference, "{order:?}");
        }
        for (number, ranks) in [1, 2, 3, 5, 7, 8].into_iter().enumerate() {
            for (place, readers) in [1, 2, 4, 16].into_iter().enumerate() {
                for (other, batch) in [1, 8, 64].into_iter().enumerate() {
                    let is_tried = is_thorough() || (number + place) % 4 == 0 && (number + other) % 3 != 0;
                    if is_tried && batch >= ranks && batch % order.batch_unit() == 0 {
                        let found = sequence(&dataset, &samples, &all(ranks, readers, batch, &order));
                        assert!(found == reference, "{order:?}, {ranks} ranks, {readers} readers, batches of {batch}");
                    }
                }
            }
        }
    }
}

/// Every position before and behind a change of weights, with other ranks, readers and batch.
#[test]
fn a_run_goes_on_at_every_position_across_a_change_of_weights() {
    let (_folder, dataset, samples) = many(61);
    let [.., changed, _] = orders();
    let of = |start: u64, number: usize| FeedPlan {
        order: changed.clone(),
        start,
        epochs: 20,
        tail: Tail::Straddle,
        world_size: 1 + number % 3,
        batch_size: 3 + number % 7,
        ..plan(1 + number % 4, 1)
    };
    let reference = sequence(&dataset, &samples, &of(900, 0));
    let by = if is_thorough() { 1 } else { 7 };
    for start in (990..1020).chain((900..1220).step_by(by)) {
        assert_eq!(
            sequence(&dataset, &samples, &of(start, start as usize)),
            reference[start as usize - 900..],
            "{start}"
        );
    }
}

/// Resumed at a position with other ranks, readers and batch, and once more behind some of the steps that follow.
#[test]
fn every_position_goes_on_with_other_ranks_readers_and_batches() {
    let count = if is_thorough() { 1009 } else { 61 };
    let (_folder, dataset, samples) = many(count);
    for order in orders() {
        for tail in [Tail::Keep, Tail::Straddle] {
            let of = |start: u64, number: usize| {
                let unit = order.batch_unit();
                let world_size = 1 + number % 3;
                let batch_size = (world_size + number % 7).next_multiple_of(unit);
                FeedPlan {
                    order: order.clone(),
                    tail,
                    start,
                    world_size,
                    batch_size,
                    epochs: 2,
                    ..plan(1 + number % 4, 1 + number % 2)
                }
            };
            let reference = sequence(&dataset, &samples, &of(0, 0));
            for start in (0..=2 * count).step_by(order.batch_unit()) {
                let first = of(start as u64, start);
                // Some steps of one feed, and the rest by another.
                let steps = first.steps(count).unwrap();
                let taken = steps.count().min(start as u64 * 7 % 5);
                let later = if taken == 0 { start as u64 } else { steps.position_after(taken - 1) };
                let found = sequence(&dataset, &samples, &of(later, start + 5));
                assert!(found == reference[later as usize..], "{order:?} {tail:?} at {start}, then {later}");
                let mut feed =
                    Feed::start(dataset.clone(), samples.clone(), FeedPlan { world_size: 1, ..first }).unwrap();
                for _ in 0..taken {
                    let batch = feed.next_batch().unwrap().unwrap();
                    let end = batch.position as usize;
                    let begin = end - batch.len();
                    assert!(batch.texts().map(|text| text.sample).eq(reference[begin..end].iter().copied()));
                }
            }
        }
    }
}

#[test]
fn plans_that_do_not_fit_are_refused_by_name() {
    let (_folder, dataset, samples) = many(20);
    let said = |plan: FeedPlan| Feed::start(dataset.clone(), samples.clone(), plan).err().unwrap().to_string();
    let plan = plan(1, 1);
    for (plan, problem) in [
        (FeedPlan { world_size: 4, ..plan.clone() }, "the batch: expected 4 or more, one sample a rank, found 3"),
        (FeedPlan { rank: 2, world_size: 2, ..plan.clone() }, "the rank: expected 0 to below 2, the ranks, found 2"),
        (
            FeedPlan { order: Order::GroupedByVolume { seed: 1, texts: 2 }, ..plan.clone() },
            "the order: expected texts that come together to divide the batch of 3, found 2",
        ),
        (
            FeedPlan { order: Order::LengthBuckets { seed: 1, window: 4, unit: 2 }, ..plan.clone() },
            "the order: expected texts that come together to divide the batch of 3, found 2",
        ),
        (
            FeedPlan { start: 61, ..plan.clone() },
            "the cursor's position: expected at most 60, the end of 3 epochs of 20 samples, found 61",
        ),
    ] {
        assert_eq!(said(plan), problem);
    }
}

/// Changes a bit of a volume's stored bytes.
fn damage(root: &Path, volume: Id) {
    let dataset = Dataset::open(root).unwrap();
    let place = *dataset.places().unwrap().all().iter().find(|place| place.volume == volume).unwrap();
    let path = root.join(&dataset.index().volumes[place.shard as usize].path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[place.offset as usize] ^= 16;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_bad_sample_leaves_its_batch_shorter_and_nothing_else() {
    let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    [folder.path(), whole.path()].into_iter().for_each(write);
    damage(folder.path(), volume_id(2));
    let skip = |readers| FeedPlan { on_bad_sample: OnBadSample::Skip, ..plan(readers, 2) };
    let reference = run(whole.path(), plan(1, 2));
    let is_bad = |text: &Text| text.ids.contains(&2) && text.ids[2] == 2;
    for readers in [1, 3] {
        let fed = run(folder.path(), skip(readers));
        assert_eq!(fed.len(), reference.len());
        for (fed, whole) in fed.iter().zip(&reference) {
            let left = whole.0.iter().filter(|text| !is_bad(text));
            let key = |text: &Text| (text.sample_id, text.ids.clone(), text.target_weight);
            assert!(fed.0.iter().map(key).eq(left.map(key)));
            assert!(!fed.1.contains(&volume_id(2)) && fed.3 == whole.3);
            // Each text still shows its own volume.
            for text in &fed.0 {
                let cell = &fed.2[32 * text.volumes[0]..32 * (text.volumes[0] + 1)];
                assert!(cell.iter().all(|code| i64::from(*code) == text.ids[2]));
            }
        }
    }
    // What is said of them, in order.
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let mut feed = Feed::start(dataset, samples, FeedPlan { epochs: 1, ..skip(2) }).unwrap();
    let mut bad = Vec::new();
    while let Some(batch) = feed.next_batch() {
        bad.extend(batch.unwrap().bad.clone());
    }
    assert_eq!(bad.len(), 2);
    for bad in bad {
        assert!(bad.volume == volume_id(2) && bad.row == 2 && bad.shard.ends_with("volumes/00000.parquet"));
        assert!(bad.reason.contains("xxh3"), "{}", bad.reason);
    }
    // Without the word it is an error of its batch.
    let (dataset, samples) = open(folder.path(), &[Task::Caption]);
    let mut feed = Feed::start(dataset, samples, FeedPlan { epochs: 1, ..plan(1, 1) }).unwrap();
    let errors: Vec<String> =
        std::iter::from_fn(|| feed.next_batch()).filter_map(|batch| Some(batch.err()?.to_string())).collect();
    assert!(errors.len() == 1 && errors[0].contains("row 2"), "{errors:?}");
}
