//! A schedule: a world, some steps in which anything happens, and a quiet end in which everything must become final.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use circuits::{public_data::domain, shape::Shape};
use coordinator::Config;
use protocol::eip712::SigningDomain;
use sequencer::rules::Rules;

use super::{
    Plan, Report, Seen,
    chain::{CHAIN_ID, CONTRACT},
    crew::{Worker, rack},
    disk::Disk,
    model::Model,
    node::Node,
    process::{Looked, Process, Standby, circuits_of, config},
    streams::Streams,
    users::{User, people},
    world::{Dice, Shared, Time, World},
};

/// Steps in which everything must become final once faults have stopped.
const QUIET_STEPS: usize = 600;
/// Quiet steps after which an alarm that only a person can end is believed.
const ALARMED_STEPS: u64 = 60;
/// Chance of the set-up and of the quiet end; steps have the numbers between.
const SET_UP: u64 = u64::MAX;
const QUIET: u64 = u64::MAX - 1;
const WARM_UP: u64 = u64::MAX - 2;

pub(super) struct Schedule {
    pub(super) world: Shared,
    config: Config,
    rules: Arc<Rules>,
    pub(super) processes: Vec<Process>,
    pub(super) standbys: Vec<Standby>,
    /// Whether blocks are replaced that count as final.
    pub(super) deep: bool,
    holders: u64,
    pub(super) workers: Vec<Worker>,
    users: Vec<User>,
}

/// Runs a schedule. A panic breaks it as a broken rule does.
pub fn run(plan: &Plan) -> Report {
    circuits::poseidon::remember_digests();
    let (mut schedule, length) = Schedule::new(plan);
    let length = plan.steps.unwrap_or(length);
    let played = catch_unwind(AssertUnwindSafe(|| schedule.play(plan, length)));
    if let Err(panic) = played {
        schedule.world.lock().broken.get_or_insert(format!("it panicked: {}", message(&*panic)));
    }
    schedule.report(plan, length)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

impl Schedule {
    fn new(plan: &Plan) -> (Self, usize) {
        let mut dice = Dice::of(plan.seed, SET_UP);
        let domain = domain(CHAIN_ID, &CONTRACT);
        let shapes = if dice.one_in(4) { vec![Shape::S3M1, Shape::S14M2] } else { vec![Shape::S3M1] };
        let confirmations = dice.pick(&[1, 2, 2, 3, 5, 8, 64]);
        let settlement = (dice.pick(&[1, 2, 64]), dice.pick(&[1, 2, 4]));
        let config = config(shapes, confirmations, settlement);
        let deep = dice.one_in(24);
        let no_pending = dice.one_in(4);
        let signing = SigningDomain { chain_id: CHAIN_ID, contract: CONTRACT };
        let rules = Arc::new(config.rules(domain, signing, circuits_of(&config.shapes)));
        let length = dice.within(30, 150) as usize;
        let count = dice.within(1, 3) as usize;
        let liar = dice.index(6);
        let workers =
            (0..=count).filter_map(|number| Worker::new(number, number == liar && number > 0)).collect();
        let users = people().iter().map(User::new).collect();
        let model = Model::new(plan.seed.is_multiple_of(16));
        let mut node = Node::new(domain, confirmations);
        node.keeps_no_pending_state = no_pending;
        let world = Shared::new(World {
            dice,
            time: Time::default(),
            bug: plan.bug,
            quiet: false,
            disk: Disk::default(),
            streams: Streams::default(),
            node,
            model,
            seen: Seen::default(),
            broken: None,
            trace: plan.traced.then(Vec::new),
        });
        let schedule = Self {
            world,
            config,
            rules,
            processes: Vec::new(),
            standbys: Vec::new(),
            deep,
            holders: 0,
            workers,
            users,
        };
        (schedule, length)
    }

    /// Everybody has a key and some coins before anything fails; how far their batches have come is left to chance.
    fn warm_up(&mut self, plan: &Plan) {
        self.begin(plan, WARM_UP, "warm-up");
        let times = {
            let mut world = self.world.lock();
            world.quiet = true;
            for user in &self.users {
                for _ in 0..world.dice.within(0, 2) {
                    user.deposit(&mut world);
                }
            }
            world.dice.within(2, 7)
        };
        self.follow();
        if let Some(leader) = self.processes.first() {
            rack().into_iter().for_each(|pool| leader.set_pool(pool, true));
            self.users.iter_mut().for_each(|user| user.register(leader, &self.world));
        }
        (0..times).for_each(|_| self.quiet_step());
        self.world.lock().quiet = false;
    }

    fn play(&mut self, plan: &Plan, length: usize) {
        self.warm_up(plan);
        for step in 0..length {
            if plan.skipped.contains(&step) {
                continue;
            }
            self.begin(plan, step as u64, &format!("step {step}"));
            self.step();
            if self.broken() {
                return;
            }
        }
        self.end(plan);
    }

    fn begin(&self, plan: &Plan, chance: u64, name: &str) {
        let mut world = self.world.lock();
        world.dice = Dice::of(plan.seed, chance);
        if let Some(trace) = &mut world.trace {
            trace.push(name.to_owned());
        }
    }

    fn broken(&self) -> bool {
        self.world.lock().broken.is_some()
    }

    fn report(self, plan: &Plan, steps: usize) -> Report {
        let mut world = self.world.lock();
        let mut seen = world.seen;
        seen.batches = u64::from(world.model.heights().2);
        seen.operations = world.model.operations() as u64;
        seen.replacements = world.node.replaced;
        Report {
            seed: plan.seed,
            steps,
            broken: world.broken.take(),
            trace: world.trace.take().unwrap_or_default(),
            seen,
        }
    }

    fn step(&mut self) {
        let (action, who, user, worker) = {
            let mut world = self.world.lock();
            let who = world.dice.index(self.processes.len().max(1));
            let user = world.dice.index(self.users.len());
            let worker = world.dice.index(self.workers.len());
            (world.dice.below(100), who, user, worker)
        };
        {
            let mut world = self.world.lock();
            if world.dice.one_in(6) {
                world.restore_newest();
            }
        }
        if self.processes.is_empty() {
            self.world.lock().time.pass(500);
            return self.follow();
        }
        match action {
            0..42 => self.turn(who),
            42..47 if self.standbys.is_empty() => self.turn(who),
            42..47 => self.follow(),
            47..64 => self.workers[worker].act(&mut self.world.lock()),
            64..80 => self.users[user].act(&self.processes[who], &self.world),
            80..84 => self.users[user].wish(&mut self.world.lock()),
            84..90 => self.mine(),
            90..95 => {
                let world = &mut self.world.lock();
                let millis = world.dice.pick(&[50, 500, 1_500, 3_000, 6_000, 20_000]);
                world.say(|| format!("{millis} ms pass"));
                world.time.pass(millis);
            }
            _ => self.fault(who, worker),
        }
    }

    /// A process gets some time: its tasks go on for a while, one after the other, in any order.
    fn turn(&mut self, who: usize) {
        let holder = self.processes[who].holder;
        let (times, tasks) = {
            let mut world = self.world.lock();
            (world.dice.within(1, 5), world.dice.below(4 * 4 * 4 * 4 * 4))
        };
        for time in 0..times {
            // Its driver may have stopped.
            let Some(who) = self.processes.iter().position(|process| process.holder == holder) else {
                return;
            };
            match (tasks >> (2 * time)) & 3 {
                0 => self.processes[who].poll_chain(),
                1 => self.processes[who].poll_reader(),
                2 => self.processes[who].poll_writer(),
                _ => {}
            }
            self.round(who);
        }
    }

    /// One round of a process; it ends if its driver stops.
    fn round(&mut self, who: usize) {
        let outcome = self.processes[who].round(&self.world);
        let mut ended = None;
        if let Err(error) = outcome {
            let holder = self.processes[who].holder;
            ended = Some(holder);
            self.processes.remove(who);
            let mut world = self.world.lock();
            world.say(|| format!("process {holder} stops: {error}"));
            self.excuse(&mut world, &error);
        }
        let mut world = self.world.lock();
        self.users.iter_mut().for_each(|user| user.hear(&mut world, ended));
    }

    /// A coordinator may stop when its store does not answer, never because of what it finds there.
    fn excuse(&self, world: &mut World, error: &coordinator::StartError) {
        use coordinator::StartError;
        use store::StoreError;
        let is_backup = world.disk.newest.is_some();
        if is_backup && matches!(error, StartError::Behind(_) | StartError::Checkpoint { .. }) {
            world.seen.restores_noticed += 1;
            return;
        }
        let outage = matches!(
            error,
            StartError::Store(
                StoreError::Unavailable(_) | StoreError::Unusable(_) | StoreError::Deposed { .. }
            )
        );
        if !outage {
            world.breaks(|| format!("a coordinator stops: {error}"));
        }
    }

    /// Another process waits for its turn to lead.
    pub(super) fn stand_by(&mut self) {
        self.holders += 1;
        let holder = self.holders;
        let kept = {
            let mut world = self.world.lock();
            let kept = if world.dice.one_in(3) { None } else { world.disk.snapshot.clone() };
            let from = kept.as_ref().map_or(0, |(_, sequence)| *sequence);
            world.say(|| format!("process {holder} stands by, from event {from}"));
            kept
        };
        match Standby::new(holder, &self.world, &self.rules, kept) {
            Ok(standby) => self.standbys.push(standby),
            Err(error) => self.world.lock().breaks(|| format!("a snapshot cannot be read: {error}")),
        }
    }

    /// A standby, a new one if there is none, looks whether it leads now.
    pub(super) fn follow(&mut self) {
        if self.standbys.is_empty() {
            self.stand_by();
        }
        let Some(standby) = self.standbys.pop() else { return };
        let holder = standby.holder;
        match standby.look(&self.world, &self.config, &self.rules) {
            Ok(Looked::Waits(standby)) => self.standbys.insert(0, *standby),
            Ok(Looked::Leads(process)) => {
                let mut world = self.world.lock();
                world.seen.takeovers += u64::from(!self.processes.is_empty());
                self.processes.push(*process);
            }
            Err(error) => {
                let mut world = self.world.lock();
                world.say(|| format!("process {holder} does not start: {error}"));
                self.excuse(&mut world, &error);
            }
        }
    }

    fn mine(&self) {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        let blocks = world.dice.within(1, 1 + world.node.confirmations);
        for _ in 0..blocks {
            world.node.mine(Some(&mut world.dice));
        }
        let head = world.node.head();
        world.say(|| format!("{blocks} blocks are mined, up to {head}"));
    }

    /// Faults have stopped: everything must become final.
    fn end(&mut self, plan: &Plan) {
        self.begin(plan, QUIET, "quiet");
        {
            let mut world = self.world.lock();
            world.quiet = true;
            world.disk.down_until = 0;
            world.disk.deadly = None;
            world.disk.skew = 0;
            world.restore_newest();
            world.node.spike(1);
        }
        let leader = self.world.lock().disk.leader;
        self.processes.retain(|process| Some(process.holder) == leader);
        self.standbys.truncate(1);
        for _ in 0..QUIET_STEPS {
            self.world.lock().seen.quiet_steps += 1;
            self.quiet_step();
            if self.broken() {
                return;
            }
            if self.settled() {
                return self.compare();
            }
            if self.alarmed() && self.world.lock().seen.quiet_steps >= ALARMED_STEPS {
                return;
            }
        }
        let mut world = self.world.lock();
        let heights = world.model.heights();
        let status = self.processes.first().map(|process| process.status.get());
        world
            .breaks(|| format!("not final after {QUIET_STEPS} quiet steps: batches {heights:?}, {status:?}"));
    }

    fn quiet_step(&mut self) {
        if self.processes.is_empty() {
            self.follow();
        }
        if let Some(leader) = self.processes.first_mut() {
            leader.set_skew(0);
        }
        for _ in 0..4 {
            let Some(leader) = self.processes.first_mut() else { break };
            leader.poll_chain();
            leader.poll_reader();
            self.round(0);
            if let Some(leader) = self.processes.first_mut() {
                leader.poll_writer();
            }
        }
        {
            let mut world = self.world.lock();
            self.workers.iter_mut().for_each(|worker| worker.act(&mut world));
            for _ in 0..1 + world.node.confirmations / 2 {
                world.node.mine(None);
            }
            world.time.pass(700);
        }
        if let Some(leader) = self.processes.first() {
            rack().into_iter().for_each(|pool| leader.set_pool(pool, true));
            self.users.iter_mut().for_each(|user| user.act(leader, &self.world));
        }
    }

    /// Blocks that counted as final were replaced, and the coordinator stands still and says so.
    fn alarmed(&self) -> bool {
        let alarm = |process: &Process| {
            let status = process.status.get();
            status.intake_alarm.is_some() || status.settlement_alarm.is_some()
        };
        self.world.lock().node.was_deep && self.processes.iter().any(alarm)
    }

    fn settled(&self) -> bool {
        let Some(leader) = self.processes.first() else { return false };
        let state = &leader.driver.state;
        let world = self.world.lock();
        let taken = world.node.contract();
        let all_taken = state.next_ids() == (taken.deposit_count, taken.forced_count);
        state.batcher().open_batch().slots.is_empty()
            && state.batcher().waiting() == (0, 0)
            && all_taken
            && state.tree().final_batch() == state.tree().state_batch()
            && self.users.iter().all(User::content)
    }

    /// What the coordinator, the contract and the model say at the end.
    fn compare(&self) {
        let mut world = self.world.lock();
        let Some(leader) = self.processes.first() else { return };
        let state = &leader.driver.state;
        let ledger: std::collections::BTreeMap<_, _> = state
            .ledger()
            .leaves()
            .map(|(index, leaf)| (index, (leaf.owner, leaf.account, leaf.range)))
            .collect();
        let coins: std::collections::BTreeMap<_, _> = world
            .model
            .coins()
            .map(|(index, coin)| (*index, (coin.owner, coin.account, coin.range)))
            .collect();
        if ledger != coins {
            world.breaks(|| "the ledger holds other leaves than the log says".to_owned());
        }
        for user in &self.users {
            let owner = user.owner();
            let held = coins.values().filter(|coin| coin.0 == owner).map(|coin| coin.2.amount()).sum::<u64>();
            let balances = state.ledger().balances(&owner);
            if [balances.accepted, balances.proven, balances.finalized] != [held; 3] {
                world.breaks(|| format!("{} has {balances:?}, and its leaves hold {held}", owner[0]));
            }
        }
        let (credited, withdrawn) = (world.node.credited(), world.model.withdrawn);
        let (coins, held) = (world.node.coins(), world.model.held());
        if credited != withdrawn || coins != held + withdrawn {
            world.breaks(|| {
                format!("of {coins} coins {held} are held, {withdrawn} withdrawn, {credited} paid out")
            });
        }
        if world.node.contract().root != state.tree().root() {
            world.breaks(|| "the contract stands at another root".to_owned());
        }
    }
}
