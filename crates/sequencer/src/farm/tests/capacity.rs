//! How long the farm takes for what waits, as workers come and go.

use super::*;
use crate::farm::{Load, Scale};

impl Bench {
    fn register_for(&mut self, name: &str, shapes: &[Shape]) {
        self.say(name, WorkerEvent::Register { registration: registration(shapes), in_flight: Vec::new() });
        // They are counted every now and then.
        self.now += 100;
        self.tick();
    }

    fn load(&self) -> Load {
        self.farm.load(None, false, self.now)
    }

    fn wait_for(&mut self, shape: Shape, batches: std::ops::RangeInclusive<u32>) {
        batches.for_each(|batch_no| self.farm.enqueue(batch_no, shape, [1; 32], [0; 32]));
    }
}

#[test]
fn work_is_divided_by_the_workers_that_can_do_it() {
    let mut bench = Bench::new();
    bench.wait_for(Shape::S3M1, 1..=12);
    assert_eq!(bench.load().alive_ms, None, "nobody can");
    bench.register_for("a", &[Shape::S3M1, Shape::S14M2]);
    assert_eq!(bench.load().alive_ms, Some(12_000));
    bench.register_for("b", &[Shape::S3M1]);
    assert_eq!(bench.load().alive_ms, Some(6_000));
    // Both circuits together keep the two busy for (12 + 8) / 2 s, and the second alone the first worker for 8 s.
    bench.wait_for(Shape::S14M2, 13..=14);
    assert_eq!(bench.load().alive_ms, Some(10_000));
    bench.wait_for(Shape::S14M2, 15..=18);
    assert_eq!(bench.load().alive_ms, Some(24_000), "only one of them can do the second");
    let load = bench.farm.load(Some(Shape::S3M1), false, bench.now);
    assert_eq!((load.jobs, load.workers, load.alive_ms), (18, 2, Some(24_000)));
}

#[test]
fn measured_proofs_count_instead_of_expected_ones() {
    let mut bench = Bench::new();
    bench.register_for("a", &[Shape::S3M1]);
    bench.enqueue(1..=5);
    bench.pass(3_000, &["a"]);
    bench.prove("a", 1);
    assert_eq!(bench.load().alive_ms, Some(4 * 3_000));
}

#[test]
fn a_farm_that_proves_nothing_for_long_is_counted_as_slower_and_slower() {
    let mut bench = Bench::new();
    bench.register_for("a", &[Shape::S3M1]);
    bench.enqueue(1..=2);
    bench.pass(15_000, &["a"]);
    assert_eq!(bench.load().alive_ms, Some(2_000), "that is no sign yet");
    bench.pass(45_000, &["a"]);
    assert_eq!(bench.load().alive_ms, Some(12_000), "six times what is overdue");
}

#[test]
fn a_proof_that_took_longer_than_there_is_time_is_not_the_last() {
    let mut bench = Bench::new();
    bench.register_for("a", &[Shape::S3M1]);
    bench.enqueue(1..=2);
    bench.pass(99_000, &["a"]);
    let other = bench.farm.job(1).unwrap().live[0].worker.to_string();
    bench.prove(&other, 1);
    assert_eq!(bench.load().alive_ms, Some(99_000));
    assert!(!bench.farm.load(Some(Shape::S3M1), true, bench.now).is_in_time());
    bench.prove("a", 2);
    let rests = bench.farm.load(Some(Shape::S3M1), true, bench.now);
    assert_eq!((rests.jobs, rests.alive_ms), (0, Some(1_000)));
}

#[test]
fn times_of_another_process_or_of_a_clock_that_was_set_are_not_measured() {
    let mut bench = Bench::new();
    bench.register_for("a", &[Shape::S3M1]);
    bench.enqueue(1..=3);
    let mut farm = bench.restarted();
    // The other process' clock is an hour ahead.
    bench.now += 3_600_000;
    farm.step(FarmCommand::Tick, bench.now);
    farm.proven(1, &worker("a"), bench.now);
    assert_eq!(farm.work.pace.median_ms(Shape::S3M1), None);
    bench.farm.clock_was_set(bench.now);
    bench.prove("a", 1);
    assert_eq!(bench.farm.work.pace.median_ms(Shape::S3M1), None, "set forwards");
    bench.now -= 3_600_000;
    bench.farm.clock_was_set(bench.now);
    assert_eq!(bench.farm.job(2).unwrap().live[0].until, bench.now + RULES.lease_ms);
    bench.pass(2_000, &["a"]);
    bench.prove("a", 2);
    assert_eq!(bench.farm.work.pace.median_ms(Shape::S3M1), None, "begun before it was set back");
    bench.pass(1_500, &["a"]);
    bench.prove("a", 3);
    assert_eq!(bench.farm.work.pace.median_ms(Shape::S3M1), Some(1_500), "begun since");
}

#[test]
fn who_drains_or_is_sick_or_dead_does_not_count() {
    let mut bench = Bench::new();
    bench.register_for("a", &[Shape::S3M1]);
    bench.register_for("b", &[Shape::S3M1]);
    bench.register_for("c", &[Shape::S3M1]);
    assert_eq!(bench.load().workers, 3);
    bench.step(FarmCommand::Drain { worker: worker("a") });
    let card =
        Some(Box::new(wire::CardReading { sick: Some("hot".to_owned()), ..wire::CardReading::default() }));
    bench.say("b", WorkerEvent::Heartbeat { in_flight: Vec::new(), card });
    bench.now += 100;
    bench.tick();
    assert_eq!(bench.load().workers, 1);
    bench.pass(RULES.lease_ms, &[]);
    assert_eq!(bench.load().workers, 0);
}

#[test]
fn names_that_never_proved_anything_count_for_little() {
    let mut bench = Bench::new();
    for number in 0..100 {
        bench.register_for(&format!("rack/liar-{number}"), &[Shape::S3M1]);
    }
    assert_eq!(bench.load().workers, 4, "newcomers");
    bench.register_for("honest", &[Shape::S3M1]);
    assert_eq!(bench.load().workers, 5);
    bench.enqueue(1..=200);
    let granted = bench.granted();
    let names: Vec<String> = (0..100).map(|number| format!("rack/liar-{number}")).collect();
    for (name, batch_no, _) in granted.iter().filter(|(name, ..)| name.starts_with("rack")).take(2) {
        bench.prove(name, *batch_no);
    }
    bench.pass(200, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(bench.load().workers, 1 + 2 + 6, "as many more as have proven something");
    bench.farm.work.pools.get_mut(&rack()).unwrap().window = 3;
    bench.now += 100;
    bench.tick();
    assert_eq!(bench.load().workers, 1 + 3, "no more than the pool's window");
}

#[test]
fn workers_that_were_there_are_waited_for_a_while() {
    let mut bench = Bench::new();
    bench.enqueue(1..=3);
    bench.register_for("a", &[Shape::S3M1]);
    bench.pass(RULES.lease_ms + 5_000, &[]);
    assert_eq!((bench.load().workers, bench.load().alive_ms), (0, Some(3_000)));
    bench.pass(10_000, &[]);
    assert_eq!(bench.load().alive_ms, None);
    // A coordinator that begins to lead a farm that has proven something waits as well.
    let mut farm = bench.restarted();
    farm.step(FarmCommand::Tick, bench.now);
    assert_eq!(farm.load(None, false, bench.now).alive_ms, None);
    assert_eq!(farm.load(None, true, bench.now).alive_ms, Some(3_000));
    assert_eq!(farm.load(None, true, bench.now + 10_000).alive_ms, None);
}

#[test]
fn an_autoscaled_farm_at_zero_counts_what_it_will_be_until_its_time_is_over() {
    let mut bench = Bench::new();
    bench.farm.capacity.scale = Some(Scale { after_ms: 60_000, max_workers: 4 });
    let idle = bench.farm.load(Some(Shape::S3M1), false, bench.now);
    assert_eq!((idle.alive_ms, idle.expected_ms(), idle.is_in_time()), (None, Some(60_250), true));
    assert!(!idle.needs_no_more());
    // From the first job on its time runs.
    bench.enqueue(1..=8);
    bench.pass(30_000, &[]);
    assert_eq!(bench.load().expected_ms(), Some(30_000 + 2_000));
    bench.pass(30_500, &[]);
    assert_eq!(bench.load().expected_ms(), None, "it did not come");
    assert!(!bench.load().is_in_time());
    // It comes late, and goes again when all is proven.
    bench.register_for("a", &[Shape::S3M1]);
    assert_eq!(bench.load().expected_ms(), Some(8_000));
    for batch_no in 1..=8 {
        bench.pass(1_000, &["a"]);
        bench.prove("a", batch_no);
    }
    bench.say("a", WorkerEvent::Left { message: "it is not needed".to_owned() });
    bench.pass(60_000, &[]);
    let idle = bench.farm.load(Some(Shape::S3M1), true, bench.now);
    assert_eq!((idle.workers, idle.alive_ms, idle.expected_ms()), (0, None, Some(60_250)));
}
