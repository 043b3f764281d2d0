//! A feed that runs allocates nothing and touches no new page: what it needs is there from the start.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use med2e3_feed::{Budget, Feed, FeedPlan, LossGroup, Order, QuestionForm, Splicing, StepRule, Tail, TextForm};

#[path = "feed/dataset.rs"]
mod dataset;

/// The system's allocator, which counts what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps what this asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Pages that the process touched for the first time, or again after they were taken away.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The fields behind the program's name, which may hold anything: state, 6 more, then minor faults.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[7].parse().unwrap()
}

#[test]
fn a_running_feed_allocates_nothing() {
    let (_folder, dataset, samples) = dataset::many(1009);
    let cut = StepRule {
        splicing: Splicing { visual_tokens: 4, max_length: 100 },
        loss_group: LossGroup::Of(4),
        budget: Budget { tokens: 60, volumes: 5 },
        width_multiple: 8,
    };
    // Groups are made anew with each epoch, so the second stays within one.
    for (rule, order, batches) in
        [(StepRule::WHOLE, Order::Shuffled { seed: 1 }, 1000), (cut, Order::GroupedByVolume { seed: 1, texts: 4 }, 100)]
    {
        let plan = FeedPlan {
            order,
            tail: Tail::Straddle,
            rule,
            epochs: 1000,
            readers: 2,
            ..FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, 16)
        };
        let mut feed = Feed::start(dataset.clone(), samples.clone(), plan).unwrap();
        let mut take = |batches: u64| (0..batches).map(|_| feed.next_batch().unwrap().unwrap().len()).sum::<usize>();
        assert!(take(40) > 0);
        let touched = faults();
        let allocations = ALLOCATIONS.load(Ordering::Relaxed);
        assert!(take(batches) > 0);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
        let touched = faults() - touched;
        // A reader that had nothing to do before may still set itself up, a step be the largest so far; to read the number of
        // faults takes some.
        assert!(
            allocations < 10 && touched < 20,
            "{allocations} allocations and {touched} faults in {batches} batches"
        );
    }
}
