//! The faults of a schedule: whatever can happen to a process, to what it depends on, and to those that depend on it.

use super::{crew::rack, disk::Death, process::WRONG, schedule::Schedule};

impl Schedule {
    pub(super) fn fault(&mut self, who: usize, worker: usize) {
        let fault = self.world.lock().dice.below(17);
        let mut guard = self.world.lock();
        let world = &mut *guard;
        match fault {
            0 | 1 => {
                let process = self.processes.remove(who);
                world.seen.crashes += 1;
                // It may come back under the same name, which has not to wait for its own lease.
                if world.dice.one_in(2) && world.disk.leader == Some(process.holder) {
                    world.disk.expires_at = 0;
                }
                world.say(|| format!("process {} is killed", process.holder));
                drop(guard);
                drop(process);
            }
            2 => {
                let death = world.dice.pick(&[Death::BeforeWrite, Death::AfterWrite]);
                world.seen.crashes += 1;
                world.disk.deadly = Some((self.processes[who].holder, death));
            }
            3 | 4 => {
                if self.standbys.len() < 2 && world.dice.one_in(2) {
                    drop(guard);
                    self.stand_by();
                } else {
                    let old = self.processes.remove(0);
                    world.say(|| format!("process {} ends", old.holder));
                    if world.disk.leader == Some(old.holder) {
                        world.disk.expires_at = 0;
                    }
                    drop(guard);
                    drop(old);
                }
            }
            5 => {
                let millis = world.dice.pick(&[100, 2_000, 10_000]);
                world.seen.outages += 1;
                world.say(|| format!("the store is down for {millis} ms"));
                world.disk.down_until = world.time.now() + millis;
            }
            6 => {
                world.seen.wipes += 1;
                if world.dice.one_in(2) {
                    world.say(|| "the queue is wiped".to_owned());
                    let told = world.dice.one_in(2);
                    world.streams.wipe(told);
                } else {
                    world.say(|| "a key of the queue is deleted".to_owned());
                    world.delete_a_key();
                }
            }
            7 | 8 => {
                let deep = self.deep && world.dice.one_in(2);
                let most = if deep { 2 * world.node.confirmations + 1 } else { world.node.confirmations };
                let depth = world.dice.within(1, most.min(64));
                world.seen.reorgs += 1;
                world.node.reorg(depth, deep, &mut world.dice);
                let head = world.node.head();
                world.say(|| format!("a reorganisation of depth {depth}, now up to {head}"));
            }
            9 => {
                let times = world.dice.pick(&[1, 2, 5, 20]);
                world.seen.spikes += 1;
                world.say(|| format!("fees are {times} times as high"));
                world.node.spike(times);
                if world.dice.one_in(2) {
                    world.seen.evictions += 1;
                    world.say(|| "the pool is emptied".to_owned());
                    world.node.evict();
                }
            }
            10 => {
                world.seen.jumps += 1;
                if world.dice.one_in(4) {
                    let skew = world.dice.pick(&[-WRONG / 2, -20_000, 0, 20_000, WRONG / 2]);
                    world.say(|| format!("the store's clock is off by {skew} ms"));
                    world.disk.skew = skew;
                    return;
                }
                let skew = world.dice.pick(&[-WRONG, -3_000, -500, 0, 4_000, 30_000, WRONG]);
                world.say(|| {
                    format!("the clock of process {} is off by {skew} ms", self.processes[who].holder)
                });
                self.processes[who].set_skew(skew);
            }
            11 => self.workers[worker].die(world),
            12 => {
                world.say(|| "the leader's lease is over".to_owned());
                world.disk.expires_at = 0;
                drop(guard);
                // The leader lives, and finds out later.
                (0..3).for_each(|_| self.follow());
            }
            13 => {
                world.say(|| "the operator's key signs something else".to_owned());
                world.seen.foreign += 1;
                world.node.take_a_nonce();
            }
            14 => {
                let is_open = world.dice.one_in(2);
                world.say(|| format!("an operator opens (or closes) a pool: {is_open}"));
                if let Some(pool) = rack() {
                    self.processes[who].set_pool(pool, is_open);
                }
            }
            15 => world.restore_backup(),
            _ => {
                drop(guard);
                self.keep(who);
            }
        }
    }

    /// A process keeps its state, if it is the leader's.
    fn keep(&mut self, who: usize) {
        let process = &self.processes[who];
        if self.world.lock().disk.leader != Some(process.holder) {
            return;
        }
        let kept = process.snapshot();
        let mut world = self.world.lock();
        match kept {
            Ok(kept) => {
                world.seen.snapshots += 1;
                world.say(|| format!("the state is kept at event {}", kept.1));
                world.disk.snapshot = Some(kept);
            }
            Err(error) => world.breaks(|| format!("no snapshot can be made: {error}")),
        }
    }
}
