//! As much of Thrift's compact form as tells the sizes in a page's header and a footer's schema, with bounds on all of it.

/// Structs within structs that are passed over; a header has three.
const MAX_DEPTH: usize = 16;

/// Bytes that are read from their start. Every call gives `None` where they end early or are something else.
pub(crate) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The types of a field that are told apart.
pub(crate) mod kind {
    pub(crate) const STOP: u8 = 0;
    pub(crate) const TRUE: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const BYTE: u8 = 3;
    pub(crate) const I16: u8 = 4;
    pub(crate) const I32: u8 = 5;
    pub(crate) const I64: u8 = 6;
    pub(crate) const DOUBLE: u8 = 7;
    pub(crate) const BINARY: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const SET: u8 = 10;
    pub(crate) const STRUCT: u8 = 12;
}

impl<'a> Compact<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { bytes, at: 0 }
    }

    /// Bytes that were read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip_bytes(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        self.at = Some(end).filter(|end| *end <= self.bytes.len())?;
        Some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number of any width.
    pub(crate) fn number(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of 32 bits.
    pub(crate) fn i32(&mut self) -> Option<i32> {
        i32::try_from(self.number()?).ok()
    }

    /// How many items a list has, and their type.
    pub(crate) fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
        // An item has a byte at least.
        (count <= (self.bytes.len() - self.at) as u64).then_some((count, head & 15))
    }

    /// Gives each field of a struct, by number and type, to `field`, which reads its value or says by `false` that it did not.
    pub(crate) fn fields(&mut self, mut field: impl FnMut(&mut Self, i64, u8) -> Option<bool>) -> Option<()> {
        let mut number: i64 = 0;
        loop {
            let head = self.byte()?;
            let kind = head & 15;
            if kind == kind::STOP {
                return Some(());
            }
            number = if head >> 4 == 0 { self.number()? } else { number.checked_add(i64::from(head >> 4))? };
            if !field(self, number, kind)? {
                self.skip(kind, MAX_DEPTH)?;
            }
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            kind::TRUE | kind::FALSE => Some(()),
            kind::BYTE => self.skip_bytes(1),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(|_| ()),
            kind::DOUBLE => self.skip_bytes(8),
            kind::BINARY => {
                let length = self.unsigned()?;
                self.skip_bytes(length)
            }
            kind::LIST | kind::SET => {
                let (count, item) = self.list()?;
                // A truth value has a byte of its own in a list.
                let item = if item == kind::TRUE || item == kind::FALSE { kind::BYTE } else { item };
                (0..count).try_for_each(|_| self.skip(item, depth))
            }
            kind::STRUCT => {
                // As in `fields`, whose closure would make a type without end here.
                loop {
                    let head = self.byte()?;
                    if head & 15 == kind::STOP {
                        return Some(());
                    }
                    if head >> 4 == 0 {
                        self.number()?;
                    }
                    self.skip(head & 15, depth)?;
                }
            }
            _ => None,
        }
    }
}
