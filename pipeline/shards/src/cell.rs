//! The feed's read of one volume: the stored bytes by one positioned read, their hash compared, and straight to where they belong.

use std::cell::RefCell;
use std::time::Duration;

use lz4_flex::block::decompress_into;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_store::{FileError, PositionedFile};
use xxhash_rust::xxh3::xxh3_64;

use crate::ShardError;
use crate::cost::{CellCost, timed};
use crate::pages::unfold;
use crate::places::Place;

thread_local! {
    // One buffer a thread: a fresh one would cost its pages each time.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads the cell at a place to `cell`, which has its size. After an error the contents of `cell` are undefined.
///
/// # Errors
/// [`ShardError::Cell`] where the bytes are not those that were written; [`ShardError::Unread`] where they can't be had.
pub(crate) fn read(
    file: &PositionedFile,
    place: &Place,
    codec: VoxelCodec,
    cell: &mut [u8],
) -> Result<CellCost, ShardError> {
    let problem = |problem: String| {
        let (path, row) = (file.path().to_owned(), place.row as usize);
        ShardError::Cell { path, row, volume: place.volume, problem }
    };
    let refused = |error: FileError| match error {
        FileError::Range { range, bytes, .. } => {
            problem(format!("expected bytes {} to {}, found {bytes} bytes", range.start, range.end))
        }
        source => ShardError::Unread { row: place.row as usize, volume: place.volume, source },
    };
    let mut cost = CellCost { bytes: place.length.into(), ..CellCost::default() };
    let check = |stored: &[u8], sum: &mut Duration| {
        let found = timed(sum, || xxh3_64(stored));
        let words =
            || format!("expected {} stored bytes with xxh3 {:016x}, found {found:016x}", stored.len(), place.xxh3);
        if found == place.xxh3 { Ok(()) } else { Err(problem(words())) }
    };
    let bytes = cell.len();
    let unfolded = |found: Result<usize, String>| match found {
        Ok(found) if found == bytes => Ok(()),
        Ok(found) => Err(problem(format!("expected a cell of {bytes} bytes, found {found}"))),
        Err(words) => Err(problem(format!("the cell does not decode: {words}"))),
    };
    if codec == VoxelCodec::None {
        if place.length as usize != bytes {
            return unfolded(Ok(place.length as usize)).map(|()| cost);
        }
        timed(&mut cost.read, || file.read_at(place.offset, cell)).map_err(refused)?;
        check(cell, &mut cost.hash)?;
        return Ok(cost);
    }
    STORED.with_borrow_mut(|stored| {
        let range = place.offset..place.offset.saturating_add(place.length.into());
        timed(&mut cost.read, || file.read(range, stored)).map_err(refused)?;
        check(stored, &mut cost.hash)?;
        unfolded(timed(&mut cost.decode, || decode(codec, stored, cell)))?;
        Ok(cost)
    })
}

/// Decodes stored bytes to `cell`, as a read does once their hash is right. Gives how many bytes they came to.
///
/// # Errors
/// Bytes that do not decode, or to more than `cell` takes, in words.
pub fn decode(codec: VoxelCodec, stored: &[u8], cell: &mut [u8]) -> Result<usize, String> {
    match codec {
        VoxelCodec::Zstd1 => unfold(stored, cell).map_err(|error| error.to_string()),
        VoxelCodec::Lz4 => decompress_into(stored, cell).map_err(|error| error.to_string()),
        VoxelCodec::None if stored.len() == cell.len() => {
            cell.copy_from_slice(stored);
            Ok(cell.len())
        }
        VoxelCodec::None => Ok(stored.len()),
    }
}
