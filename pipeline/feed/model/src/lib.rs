//! The feed's ring under a scheduler that tries its interleavings: the file is the product's own, and what it synchronizes by is
//! replaced. A thread that nobody wakes is found as a deadlock.
//!
//! What it can't find: orderings of memory that are too weak (each step is sequentially consistent here) and faults of crossbeam.

#[path = "../../src/ring.rs"]
pub mod ring;
mod sync;

#[cfg(test)]
mod tests {
    use super::ring::{Consumer, NoBatch, Work, ring};
    use shuttle::sync::Mutex;
    use shuttle::thread;
    use std::sync::Arc;

    /// Batches are lists of numbers; a cell is a number of its batch.
    struct Numbers {
        panics_at: Option<u64>,
        fails_at: Option<u64>,
    }

    type Batch = Arc<Mutex<Vec<u64>>>;

    impl Work for Numbers {
        type Batch = Batch;
        type Cell = (Batch, u64);
        type Error = u64;

        fn read(&self, (batch, number): (Batch, u64)) -> bool {
            assert!(self.panics_at != Some(number), "over {number}");
            batch.lock().unwrap().push(number);
            self.fails_at != Some(number)
        }

        fn finish(&self, batch: &mut Batch, is_read: bool) -> Result<(), u64> {
            let mut batch = batch.lock().unwrap();
            batch.sort_unstable();
            if is_read { Ok(()) } else { Err(batch[0]) }
        }
    }

    /// A ring of so many slots whose planner makes `batches` of `cells` cells each, numbered through, and its readers.
    fn start(
        work: Numbers,
        slots: usize,
        batches: u64,
        cells: u64,
        readers: usize,
    ) -> (Consumer<Numbers>, Vec<thread::JoinHandle<()>>) {
        let own = (0..slots).map(|_| Batch::default()).collect();
        let (planner, readers, consumer) = ring(work, own, cells as usize, readers);
        let mut next = 0;
        let plan = move |batch: &mut Batch, planned: &mut Vec<(Batch, u64)>| {
            (next < batches).then(|| {
                batch.lock().unwrap().clear();
                planned.extend((0..cells).map(|cell| (batch.clone(), next * cells + cell)));
                next += 1;
                Ok(())
            })
        };
        let mut threads = vec![thread::spawn(move || planner.run(plan))];
        threads.extend(readers.into_iter().map(|reader| thread::spawn(move || reader.run())));
        (consumer, threads)
    }

    const SOUND: Numbers = Numbers { panics_at: None, fails_at: None };

    /// Everything comes once and in order, whatever becomes of the batches in between; then the threads end.
    fn all_of(slots: usize, batches: u64, cells: u64, readers: usize) {
        let (mut consumer, threads) = start(SOUND, slots, batches, cells, readers);
        for number in 0..batches {
            let batch = consumer.next().unwrap().unwrap_or_else(|_| panic!("batch {number}"));
            assert!(batch.lock().unwrap().iter().copied().eq(number * cells..(number + 1) * cells));
        }
        assert!(consumer.next().is_none());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// A consumer that goes after some batches leaves no thread behind.
    fn gone_after(taken: u64) {
        let (mut consumer, threads) = start(SOUND, 2, 4, 2, 2);
        let held: Vec<_> = (0..taken).map(|_| consumer.next().unwrap().ok().unwrap()).collect();
        drop(consumer);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(held);
    }

    fn with_panic() {
        let (mut consumer, threads) = start(Numbers { panics_at: Some(3), fails_at: None }, 2, 3, 2, 2);
        assert!(consumer.next().unwrap().is_ok());
        for _ in 0..2 {
            let said = consumer.next().unwrap().err().unwrap();
            assert!(matches!(said, NoBatch::Panic(said) if said == "over 3"));
        }
        drop(consumer);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn with_failure() {
        let (mut consumer, threads) = start(Numbers { panics_at: None, fails_at: Some(1) }, 2, 3, 2, 2);
        assert!(matches!(consumer.next().unwrap().err().unwrap(), NoBatch::Error(0)));
        for number in 1..3 {
            let batch = consumer.next().unwrap().ok().unwrap();
            assert_eq!(*batch.lock().unwrap(), [2 * number, 2 * number + 1]);
        }
        assert!(consumer.next().is_none());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// A consumer that has all batches is told so, and goes on once it gave one back.
    fn all_held() {
        let (mut consumer, threads) = start(SOUND, 2, 3, 1, 2);
        let mut held: Vec<_> = (0..2).map(|_| consumer.next().unwrap().ok().unwrap()).collect();
        assert!(matches!(consumer.next().unwrap().err().unwrap(), NoBatch::AllHeld(2)));
        held.remove(0);
        assert_eq!(*consumer.next().unwrap().ok().unwrap().lock().unwrap(), [2]);
        assert!(consumer.next().is_none());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// How often each is tried: so often in the tests, more where the environment asks for it.
    fn tries(usual: usize) -> usize {
        if std::env::var_os("MED2E3_THOROUGH").is_some() { 50 * usual } else { usual }
    }

    fn tried(body: fn()) {
        shuttle::check_random(body, tries(4_000));
        // Few changes of threads at chosen places, where faults hide.
        shuttle::check_pct(body, tries(4_000), 3);
    }

    #[test]
    fn every_interleaving_of_one_batch_of_two_cells() {
        shuttle::check_dfs(|| all_of(1, 1, 2, 2), Some(tries(40_000)));
    }

    #[test]
    fn three_slots_and_two_readers_bring_all_batches_in_order() {
        tried(|| all_of(3, 5, 2, 2));
        tried(|| all_of(1, 3, 2, 2));
        tried(|| all_of(2, 3, 0, 2));
        // Whatever the one reader leaves, nobody else fills.
        tried(|| all_of(2, 2, 1, 1));
    }

    #[test]
    fn a_consumer_that_goes_leaves_no_thread_behind() {
        tried(|| gone_after(0));
        tried(|| gone_after(1));
        tried(|| gone_after(2));
    }

    #[test]
    fn a_panic_is_told_with_its_batch_and_from_then_on() {
        std::panic::set_hook(Box::new(|_| {}));
        tried(with_panic);
        let _ = std::panic::take_hook();
    }

    #[test]
    fn a_batch_that_fails_leaves_the_others() {
        tried(with_failure);
    }

    #[test]
    fn a_consumer_that_holds_everything_is_told_so() {
        tried(all_held);
    }
}
