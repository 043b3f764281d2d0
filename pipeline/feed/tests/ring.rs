//! The ring with real threads: many batches, slow and failing cells, a consumer that goes, and memory that stays the same.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use med2e3_feed::block::{Block, Cell};
use med2e3_feed::ring::{Consumer, NoBatch, Work, ring};

/// What becomes of a cell.
#[derive(Clone, Copy)]
enum Fate {
    Filled,
    Slow(Duration),
    Failed,
    Panicked,
}

/// Fills cells with a number that tells batch and cell.
struct Numbers(fn(u64) -> Fate);

impl Work for Numbers {
    type Batch = Block<u64>;
    type Cell = (u64, Cell<u64>);
    type Error = String;

    fn read(&self, (number, mut cell): (u64, Cell<u64>)) -> bool {
        cell.fill(number);
        match (self.0)(number) {
            Fate::Filled => true,
            Fate::Slow(time) => {
                thread::sleep(time);
                true
            }
            Fate::Failed => false,
            Fate::Panicked => panic!("cell {number}"),
        }
    }

    fn finish(&self, batch: &mut Block<u64>, is_read: bool) -> Result<(), String> {
        if is_read { Ok(()) } else { Err(format!("a batch of {}", batch.len())) }
    }
}

const SIZE: usize = 3;

/// A ring whose batch `b` has `b % 5` cells, which are numbered 10 b and on.
fn start(
    fate: fn(u64) -> Fate,
    slots: usize,
    batches: u64,
    readers: usize,
) -> (Consumer<Numbers>, Vec<JoinHandle<()>>) {
    let own = (0..slots).map(|_| Block::with_room(4 * SIZE)).collect();
    let (planner, readers, consumer) = ring(Numbers(fate), own, 4, readers);
    let mut numbers = 0..batches;
    let plan = move |batch: &mut Block<u64>, cells: &mut Vec<(u64, Cell<u64>)>| {
        let number = numbers.next()?;
        batch.fit((number % 5) as usize * SIZE);
        cells.extend((10 * number..).zip(batch.cells(SIZE)));
        Some(Ok(()))
    };
    let mut threads = vec![thread::spawn(move || planner.run(plan))];
    threads.extend(readers.into_iter().map(|reader| thread::spawn(move || reader.run())));
    (consumer, threads)
}

fn is_whole(number: u64, batch: &Block<u64>) -> bool {
    let cells = (0..number % 5).flat_map(|cell| [10 * number + cell; SIZE]);
    batch.iter().copied().eq(cells)
}

fn joined(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn many_batches_come_whole_and_in_order() {
    let batches = if std::env::var_os("MED2E3_THOROUGH").is_some() { 1_000_000 } else { 60_000 };
    for (slots, readers) in [(3, 2), (1, 1), (5, 8)] {
        let (mut consumer, threads) = start(|_| Fate::Filled, slots, batches / 3, readers);
        let mut kept = None;
        for number in 0..batches / 3 {
            let batch = consumer.next().unwrap().unwrap();
            assert!(is_whole(number, &batch), "batch {number}");
            // Now and then one is kept over the next.
            if slots > 2 && number % 7 == 0 {
                kept = Some((number, batch));
            } else if let Some((number, batch)) = kept.take() {
                assert!(is_whole(number, &batch), "batch {number}, kept");
            }
        }
        drop(kept);
        assert!(consumer.next().is_none() && consumer.next().is_none());
        joined(threads);
    }
}

#[test]
fn a_slow_cell_holds_back_its_batch_and_no_other() {
    let slow = |number| if number == 10 { Fate::Slow(Duration::from_millis(300)) } else { Fate::Filled };
    let (mut consumer, threads) = start(slow, 6, 6, 2);
    assert!(consumer.next().is_some());
    assert!(!consumer.wait(Some(Duration::from_millis(50))), "batch 1 is slow");
    // Batches 2 to 5 were made meanwhile; the next batch is still batch 1.
    assert_eq!(consumer.ready(), 4);
    for number in 1..6 {
        assert!(is_whole(number, &consumer.next().unwrap().unwrap()));
    }
    joined(threads);
}

#[test]
fn a_batch_that_fails_leaves_the_others() {
    let (mut consumer, threads) = start(|number| if number == 21 { Fate::Failed } else { Fate::Filled }, 3, 9, 2);
    for number in 0..9 {
        match consumer.next().unwrap() {
            Ok(batch) => assert!(number != 2 && is_whole(number, &batch)),
            Err(NoBatch::Error(said)) => assert_eq!((number, said.as_str()), (2, "a batch of 6")),
            Err(other) => panic!("{other:?}"),
        }
    }
    joined(threads);
}

#[test]
fn a_panic_is_the_end_and_says_so_whenever_asked() {
    let (mut consumer, threads) = start(|number| if number == 32 { Fate::Panicked } else { Fate::Filled }, 3, 900, 3);
    for number in 0..3 {
        assert!(is_whole(number, &consumer.next().unwrap().unwrap()));
    }
    for _ in 0..3 {
        assert!(matches!(consumer.next().unwrap().err().unwrap(), NoBatch::Panic(said) if said == "cell 32"));
    }
    drop(consumer);
    joined(threads);
}

#[test]
fn a_consumer_that_goes_takes_the_threads_along_and_leaves_its_batches() {
    for taken in 0..4 {
        let (mut consumer, threads) = start(|_| Fate::Filled, 4, 1_000, 3);
        let held: Vec<_> = (0..taken).map(|_| consumer.next().unwrap().unwrap()).collect();
        let watch = Instant::now();
        drop(consumer);
        joined(threads);
        assert!(watch.elapsed() < Duration::from_secs(1));
        assert!(held.iter().zip(0..).all(|(batch, number)| is_whole(number, batch)));
    }
}

#[test]
fn a_consumer_that_holds_every_batch_is_told_so() {
    let (mut consumer, threads) = start(|_| Fate::Filled, 3, 10, 2);
    let mut held: Vec<_> = (0..3).map(|_| consumer.next().unwrap().unwrap()).collect();
    for _ in 0..2 {
        assert!(matches!(consumer.next().unwrap().err().unwrap(), NoBatch::AllHeld(3)));
    }
    // Batches keep their memory: what is given back is what comes next.
    let address = held.remove(1).as_ptr();
    let next = consumer.next().unwrap().unwrap();
    assert!(is_whole(3, &next) && next.as_ptr() == address);
    drop((held, next, consumer));
    joined(threads);
}
