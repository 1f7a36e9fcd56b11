//! Allocations that watch who touches them.
//!
//! A race is found at the granularity of words of four bytes: two threads touch one, at least one of them writes,
//! and no barrier orders them, which only a barrier of a block that both are in does. Because blocks and the
//! threads between two barriers run one after the other, it is enough to remember the last write and the last reads
//! of each word.
//!
//! Invariant: `marks` are of the launch in `launch`; marks of earlier launches count as none.

use super::fault::Trouble;

/// Who accesses: a thread of a block of a launch, when the block has passed so many barriers.
#[derive(Clone, Copy)]
pub struct Who {
    pub launch: u32,
    pub block: u32,
    pub thread: u32,
    pub barriers: u32,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    launch: u32,
    writer: Option<Touch>,
    reader: Option<Touch>,
    /// Threads other than `reader` read after the last barrier.
    many_readers: bool,
    /// A block other than that of `reader` read.
    many_blocks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Touch {
    block: u32,
    thread: u32,
    barriers: u32,
}

impl Touch {
    /// Whether an access by `who` comes after this one on a card too.
    fn is_before(self, who: Who) -> bool {
        let same_thread = self.thread == who.thread && self.block == who.block;
        same_thread || (self.block == who.block && self.barriers < who.barriers)
    }
}

/// One allocation.
pub struct Region {
    base: u64,
    bytes: Vec<u8>,
    written: Vec<bool>,
    marks: Vec<Mark>,
}

impl Region {
    /// Memory that nobody has written.
    pub fn new(base: u64, bytes: usize) -> Self {
        Self {
            base,
            bytes: vec![0xa5; bytes],
            written: vec![false; bytes],
            marks: vec![Mark::default(); bytes.div_ceil(4)],
        }
    }

    pub fn with(base: u64, bytes: &[u8]) -> Self {
        Self {
            base,
            bytes: bytes.to_vec(),
            written: vec![true; bytes.len()],
            marks: vec![Mark::default(); bytes.len().div_ceil(4)],
        }
    }

    /// Writes from outside, between launches.
    pub fn fill(&mut self, value: &[u8]) {
        self.bytes[..value.len()].copy_from_slice(value);
        self.written[..value.len()].fill(true);
    }

    /// All bytes, or the address of the first that nobody wrote.
    pub fn bytes(&self) -> Result<&[u8], u64> {
        match self.written.iter().position(|written| !written) {
            Some(unwritten) => Err(self.base + unwritten as u64),
            None => Ok(&self.bytes),
        }
    }

    fn place(&self, address: u64, bytes: u32) -> Result<usize, Trouble> {
        let end = address.wrapping_sub(self.base).checked_add(u64::from(bytes));
        if end.is_none_or(|end| end > self.bytes.len() as u64 || end < u64::from(bytes)) {
            return Err(Trouble::OutOfBounds { address, bytes });
        }
        if !address.is_multiple_of(u64::from(bytes)) {
            return Err(Trouble::Unaligned { address, bytes });
        }
        Ok((address - self.base) as usize)
    }

    pub fn read(&mut self, who: Who, address: u64, bytes: u32) -> Result<&[u8], Trouble> {
        let at = self.place(address, bytes)?;
        let range = at..at + bytes as usize;
        if self.written[range.clone()].contains(&false) {
            return Err(Trouble::Unwritten { address, bytes });
        }
        for word in at / 4..range.end.div_ceil(4) {
            let mark = current(&mut self.marks[word], who);
            if let Some(writer) = mark.writer
                && !writer.is_before(who)
            {
                return Err(Trouble::Race { address, other: writer.thread });
            }
            let touch = Touch { block: who.block, thread: who.thread, barriers: who.barriers };
            if let Some(reader) = mark.reader {
                mark.many_blocks |= reader.block != who.block;
                let together = reader.block == who.block && reader.barriers == who.barriers;
                mark.many_readers = together && (mark.many_readers || reader.thread != who.thread);
            }
            mark.reader = Some(touch);
        }
        Ok(&self.bytes[range])
    }

    pub fn write(&mut self, who: Who, address: u64, value: &[u8]) -> Result<(), Trouble> {
        let at = self.place(address, value.len() as u32)?;
        let range = at..at + value.len();
        for word in at / 4..range.end.div_ceil(4) {
            let mark = current(&mut self.marks[word], who);
            for other in [mark.writer, mark.reader].into_iter().flatten() {
                if !other.is_before(who) {
                    return Err(Trouble::Race { address, other: other.thread });
                }
            }
            if let Some(reader) = mark.reader
                && (mark.many_blocks || (mark.many_readers && reader.barriers == who.barriers))
            {
                return Err(Trouble::Race { address, other: reader.thread });
            }
            mark.writer = Some(Touch { block: who.block, thread: who.thread, barriers: who.barriers });
        }
        self.bytes[range.clone()].copy_from_slice(value);
        self.written[range].fill(true);
        Ok(())
    }
}

fn current(mark: &mut Mark, who: Who) -> &mut Mark {
    if mark.launch != who.launch {
        *mark = Mark { launch: who.launch, ..Mark::default() };
    }
    mark
}
