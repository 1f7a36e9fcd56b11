//! Which circuits' keys stay in memory, and which one goes when another needs its room.
//!
//! Pure: no clock, no I/O. What is resident, with the room that a proof takes besides, never exceeds the limit, and nothing
//! that is in use is let go. Of what is idle, the least recently used goes first, and no more than the room asks for.

use circuits::shape::Shape;

/// What a circuit takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of key and matrices, as long as it is resident.
    pub resident: u64,
    /// Bytes that a proof takes besides.
    pub working: u64,
}

/// The answer to who wants to use a circuit. Unless it is to wait, the circuit is in use from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its key is there.
    Resident,
    /// First let these go, then load it.
    Load { evict: Vec<Shape> },
    /// What would have to go is in use; ask again when something was released.
    Wait,
    /// It was never added.
    Unknown,
}

#[derive(Clone, Debug)]
struct Entry {
    shape: Shape,
    size: Size,
    resident: bool,
    users: u32,
    /// When it was used last, in uses.
    used: u64,
}

#[derive(Clone, Debug)]
pub struct Residency {
    limit: u64,
    entries: Vec<Entry>,
    uses: u64,
}

impl Residency {
    pub fn new(limit: u64) -> Self {
        Self { limit, entries: Vec::new(), uses: 0 }
    }

    /// Makes the circuit known. Whether there is room for it now, in which case it counts as resident.
    pub fn add(&mut self, shape: Shape, size: Size) -> bool {
        self.entries.retain(|entry| entry.shape != shape);
        self.entries.push(Entry { shape, size, resident: true, users: 0, used: 0 });
        let fits = self.needed() <= self.limit;
        if let Some(added) = self.entries.last_mut() {
            added.resident = fits;
        }
        fits
    }

    pub fn acquire(&mut self, shape: Shape) -> Admission {
        let Some(place) = self.entries.iter().position(|entry| entry.shape == shape) else {
            return Admission::Unknown;
        };
        let mut evict = Vec::new();
        let there = self.entries[place].resident;
        if !there {
            let mut after = self.clone();
            after.entries[place].resident = true;
            while after.needed() > after.limit {
                let idle = |entry: &&mut Entry| entry.resident && entry.users == 0 && entry.shape != shape;
                let Some(oldest) = after.entries.iter_mut().filter(idle).min_by_key(|entry| entry.used)
                else {
                    return Admission::Wait;
                };
                oldest.resident = false;
                evict.push(oldest.shape);
            }
            *self = after;
        }
        self.uses += 1;
        let entry = &mut self.entries[place];
        entry.users += 1;
        entry.used = self.uses;
        if there { Admission::Resident } else { Admission::Load { evict } }
    }

    /// Ends one use.
    pub fn release(&mut self, shape: Shape) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.shape == shape) {
            entry.users = entry.users.saturating_sub(1);
        }
    }

    /// It could not be loaded: ends the use, and what it was given room for is not there.
    pub fn not_loaded(&mut self, shape: Shape) {
        self.release(shape);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.shape == shape) {
            entry.resident = false;
        }
    }

    /// Bytes of what is resident and of the largest proof that it allows; proofs are made one at a time.
    fn needed(&self) -> u64 {
        let resident = self.entries.iter().filter(|entry| entry.resident);
        let (keys, proof) = resident.fold((0u64, 0), |(keys, proof), entry| {
            (keys.saturating_add(entry.size.resident), proof.max(entry.size.working))
        });
        keys.saturating_add(proof)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(resident: u64, working: u64) -> Size {
        Size { resident, working }
    }

    fn three(limit: u64) -> Residency {
        let mut residency = Residency::new(limit);
        for shape in &Shape::ALL[..3] {
            residency.add(*shape, size(10, 5));
        }
        residency
    }

    #[test]
    fn the_least_recently_used_goes_and_no_more_than_needed() {
        let [a, b, c] = [Shape::ALL[0], Shape::ALL[1], Shape::ALL[2]];
        let mut residency = three(25);
        for shape in [b, a] {
            assert_eq!(residency.acquire(shape), Admission::Resident);
            residency.release(shape);
        }
        assert_eq!(residency.acquire(c), Admission::Load { evict: vec![b] });
        assert_eq!(residency.acquire(a), Admission::Resident);
    }

    #[test]
    fn what_is_in_use_stays_and_who_needs_its_room_waits() {
        let [a, b] = [Shape::ALL[0], Shape::ALL[1]];
        let mut residency = three(15);
        assert_eq!(residency.acquire(a), Admission::Resident);
        assert_eq!(residency.acquire(b), Admission::Wait);
        residency.release(a);
        assert_eq!(residency.acquire(b), Admission::Load { evict: vec![a] });
        residency.not_loaded(b);
        assert_eq!(residency.acquire(a), Admission::Load { evict: vec![] });
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_nothing_in_use_goes(
            sizes in prop::collection::vec((1u64..50, 0u64..50), Shape::ALL.len()),
            limit in 100u64..200,
            steps in prop::collection::vec((0..Shape::ALL.len(), 0u8..3), 0..200),
        ) {
            let mut residency = Residency::new(limit);
            for (shape, (resident, working)) in Shape::ALL.iter().zip(&sizes) {
                residency.add(*shape, size(*resident, *working));
            }
            for (place, what) in steps {
                let shape = Shape::ALL[place];
                let before = residency.clone();
                match what {
                    0 => residency.release(shape),
                    1 if residency.entries[place].users > 0 => residency.not_loaded(shape),
                    _ => match residency.acquire(shape) {
                        Admission::Resident => prop_assert!(before.entries[place].resident),
                        Admission::Load { evict } => {
                            prop_assert!(!before.entries[place].resident);
                            let newest = evict.iter().map(|gone| {
                                before.entries.iter().find(|entry| entry.shape == *gone).unwrap()
                            }).inspect(|gone| assert!(gone.resident && gone.users == 0)).map(|gone| gone.used).max();
                            let left = residency.entries.iter().filter(|e| e.resident && e.users == 0);
                            if let (Some(newest), Some(oldest)) = (newest, left.map(|e| e.used).min()) {
                                prop_assert!(newest <= oldest);
                            }
                        }
                        Admission::Wait => {
                            prop_assert!(residency.entries.iter().any(|e| e.users > 0));
                            prop_assert!(!residency.entries[place].resident);
                        }
                        Admission::Unknown => prop_assert!(false),
                    },
                }
                prop_assert!(residency.needed() <= limit);
            }
        }
    }
}
