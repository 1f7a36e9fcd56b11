//! What a comparison of the nodes finds: who can be asked, and which blocks count as head and as final.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use futures::future::join_all;
use l1::contract::{Word, calls};
use protocol::l1::{BlockRef, ChainError};
use tokio::time::Instant;

use super::{FRESH, Several};
use crate::chain::Chain;

/// So many blocks behind the others a node is not asked.
pub(super) const BEHIND: u64 = 3;
/// A node whose head has not moved for so long, while another one went on, is not counted.
pub(super) const STANDSTILL: Duration = Duration::from_secs(600);
/// How long half of the nodes may be ahead before a person should know.
pub(super) const APART: Duration = Duration::from_secs(60);

/// Where a node stands.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub member: usize,
    pub head: BlockRef,
    pub settled: Option<BlockRef>,
}

/// What a comparison found.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub at: Option<Instant>,
    /// Those that can be asked, in order.
    pub usable: Vec<Standing>,
    /// The highest block that more than half have, or the first node's head if that is lower.
    pub head: Option<BlockRef>,
    /// What counts as final.
    pub settled: Option<BlockRef>,
    pub alarm: Option<String>,
    /// Why the others cannot be asked.
    pub reasons: Vec<String>,
    /// Since when there has been no majority about the head.
    pub apart_since: Option<Instant>,
}

impl Found {
    pub fn is_fresh(&self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < FRESH)
    }
}

/// A comparison that is being made.
struct Look<'a> {
    several: &'a Several,
    /// Those that agree so far.
    answering: Vec<Standing>,
    alarms: Vec<String>,
    found: Found,
}

/// The value that more than half of them have, and the places of those that have another one. Nothing where no value has more
/// than half.
fn majority<T: Copy + Eq + Hash>(values: &[(usize, T)]) -> Option<(T, Vec<usize>)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    values.iter().for_each(|(_, value)| *counts.entry(*value).or_default() += 1);
    let (most, _) = counts.into_iter().find(|(_, count)| 2 * count > values.len())?;
    Some((most, values.iter().filter(|(_, value)| *value != most).map(|(member, _)| *member).collect()))
}

/// The highest of these blocks that more than half of them reach.
fn reached_by_most(blocks: impl Iterator<Item = BlockRef>) -> Option<BlockRef> {
    let mut blocks: Vec<BlockRef> = blocks.collect();
    blocks.sort_by_key(|block| block.number);
    blocks.get(blocks.len().saturating_sub(1) / 2).copied()
}

impl Several {
    pub(super) async fn look(&self, before: &Found) -> Found {
        let mut look =
            Look { several: self, answering: Vec::new(), alarms: Vec::new(), found: Found::default() };
        look.ask_heights().await;
        look.leave_out_those_that_stand_still();
        let Some(most) = reached_by_most(look.answering.iter().map(|node| node.head)) else {
            return look.found;
        };
        let settled = reached_by_most(look.answering.iter().filter_map(|node| node.settled));
        look.compare_heads(most, before).await;
        let settled = look.compare_final_blocks(settled, most).await;
        look.compare_roots().await;
        let Look { answering, alarms, mut found, .. } = look;
        let first = answering.first().map(|node| node.head);
        found.head = first.map(|head| if head.number < most.number { head } else { most });
        found.settled = settled;
        found.usable = answering;
        found.alarm = (!alarms.is_empty()).then(|| alarms.join("; "));
        found
    }
}

impl Look<'_> {
    fn name(&self, node: &Standing) -> &str {
        &self.several.members[node.member].name
    }

    fn named(&self, members: &[usize]) -> String {
        members
            .iter()
            .map(|member| self.several.members[*member].name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Those that were silent a short while ago are asked only if nobody else answers.
    async fn ask_heights(&mut self) {
        let (resting, ready): (Vec<usize>, Vec<usize>) =
            (0..self.several.members.len()).partition(|member| self.several.members[*member].rests());
        for members in [ready, resting] {
            if !self.answering.is_empty() {
                for member in members {
                    let name = &self.several.members[member].name;
                    self.found
                        .reasons
                        .push(format!("{name}: it did not answer lately and is asked again soon"));
                }
                break;
            }
            let several = self.several;
            let asked = members
                .into_iter()
                .map(|member| async move { (member, several.members[member].heights().await) });
            for (member, answer) in join_all(asked).await {
                match answer {
                    Ok((head, settled)) => self.answering.push(Standing { member, head, settled }),
                    Err(error) => {
                        let name = &self.several.members[member].name;
                        self.found.reasons.push(format!("{name}: {error}"));
                    }
                }
            }
        }
        self.answering.sort_by_key(|node| node.member);
    }

    /// Not those of a majority: then it is the chain that stands still, and who went on has invented it.
    fn leave_out_those_that_stand_still(&mut self) {
        let highest = self.answering.iter().map(|node| node.head.number).max().unwrap_or(0);
        let stands_still = |node: &Standing| {
            let still = self.several.members[node.member].stands_still_for() >= STANDSTILL;
            still && highest.saturating_sub(node.head.number) > BEHIND
        };
        let (still, going): (Vec<Standing>, Vec<Standing>) =
            self.answering.iter().copied().partition(stands_still);
        if still.len() > going.len() {
            return;
        }
        let alarm = |node: &Standing| {
            format!(
                "PM-CHAIN-008: {} has stood at block {} for more than {} minutes while others went on; it is not used: mend it or \
                 take it out of --rpc",
                self.name(node),
                node.head.number,
                STANDSTILL.as_secs() / 60
            )
        };
        let alarms: Vec<String> = still.iter().map(alarm).collect();
        self.alarms.extend(alarms);
        self.answering = going;
    }

    /// Leaves out those that are not near the block that most have reached; where that leaves no majority, those that are ahead
    /// and show that block.
    async fn compare_heads(&mut self, most: BlockRef, before: &Found) {
        let asked = self.answering.len();
        let near = |node: &Standing| node.head.number.abs_diff(most.number) <= BEHIND;
        let ahead = |node: &Standing| node.head.number > most.number && !near(node);
        if 2 * self.answering.iter().filter(|node| near(node)).count() > asked {
            self.keep(near, most);
            return;
        }
        self.keep(|node| near(node) || ahead(node), most);
        let reached: Vec<Standing> =
            self.answering.iter().filter(|node| node.head.number >= most.number).copied().collect();
        let what = format!("block {}", most.number);
        let hashes = self.of_each(&reached, |chain| async move { chain.block_hash(most.number).await }).await;
        for node in &reached {
            if !hashes.iter().any(|(member, hash)| *member == node.member && hash.is_some()) {
                self.alarms.push(format!(
                    "PM-CHAIN-005: {} is at block {} and does not give {what}, where others are; it is not used: mend it or take \
                     it out of --rpc",
                    self.name(node),
                    node.head.number
                ));
                self.answering.retain(|other| other.member != node.member);
            }
        }
        let hashes: Vec<_> = hashes.into_iter().filter_map(|(member, hash)| Some((member, hash?))).collect();
        self.judge(&hashes, &what);
        if self.answering.iter().any(ahead) {
            let since = before.apart_since.unwrap_or_else(Instant::now);
            self.found.apart_since = Some(since);
            if since.elapsed() >= APART {
                let (far, others): (Vec<Standing>, Vec<Standing>) =
                    self.answering.iter().copied().partition(ahead);
                let names = |nodes: &[Standing]| {
                    self.named(&nodes.iter().map(|node| node.member).collect::<Vec<_>>())
                };
                self.alarms.push(format!(
                    "PM-CHAIN-007: {} is far ahead of {}, and no majority is: nothing that the latter does not have counts as \
                     final until they come together or one is taken out of --rpc",
                    names(&far),
                    names(&others)
                ));
            }
            self.keep(ahead, most);
        }
    }

    fn keep(&mut self, wanted: impl Fn(&Standing) -> bool, most: BlockRef) {
        let (kept, out): (Vec<Standing>, Vec<Standing>) = self.answering.iter().copied().partition(wanted);
        let reason = |node: &Standing| {
            format!("{}: it is at block {}, others at {}", self.name(node), node.head.number, most.number)
        };
        let reasons: Vec<String> = out.iter().map(reason).collect();
        self.found.reasons.extend(reasons);
        self.answering = kept;
    }

    /// Final blocks do not differ. What most call final is compared: a node that names an invented height moves it nowhere.
    async fn compare_final_blocks(&mut self, settled: Option<BlockRef>, most: BlockRef) -> Option<BlockRef> {
        // A node that is a few blocks behind has it too, where finality is that close to the head.
        let lowest = self.answering.iter().map(|node| node.head.number).min()?.min(most.number);
        let settled = settled?;
        let height = settled.number.min(lowest);
        let nodes = self.answering.clone();
        let hashes = self.of_each(&nodes, |chain| async move { chain.block_hash(height).await }).await;
        let hashes: Vec<_> = hashes.into_iter().filter_map(|(member, hash)| Some((member, hash?))).collect();
        for node in nodes.iter().filter(|node| !hashes.iter().any(|(member, _)| *member == node.member)) {
            let reason = format!("{}: it does not give final block {height}", self.name(node));
            self.found.reasons.push(reason);
            self.answering.retain(|other| other.member != node.member);
        }
        let hash = self.judge(&hashes, &format!("final block {height}"))?;
        Some(BlockRef { number: height, hash, timestamp: settled.timestamp.min(most.timestamp) })
    }

    /// Nor does the contract's root after the same block.
    async fn compare_roots(&mut self) {
        let standing = self.answering.clone();
        let root = |chain: Arc<dyn Chain>| async move {
            let state = chain.contract_state().await?;
            // Whatever else there is, it was read on this head.
            Ok((chain.head().await?.hash, state.root))
        };
        let roots = self.of_each(&standing, root).await;
        for node in &standing {
            let on_it = |member: usize| {
                standing.iter().any(|other| other.member == member && other.head.hash == node.head.hash)
            };
            let same: Vec<(usize, Word)> = roots
                .iter()
                .filter(|(member, (after, _))| on_it(*member) && *after == node.head.hash)
                .map(|(member, (_, root))| (*member, calls::word(root)))
                .collect();
            let before = self.answering.len();
            self.judge(&same, &format!("root of the contract after block {}", node.head.number));
            if self.answering.len() < before {
                break;
            }
        }
    }

    /// What each answers; one that is silent is left out.
    async fn of_each<T, F: Future<Output = Result<T, ChainError>>>(
        &mut self,
        nodes: &[Standing],
        ask: impl Fn(Arc<dyn Chain>) -> F,
    ) -> Vec<(usize, T)> {
        let several = self.several;
        let asked = nodes.iter().filter_map(|node| {
            let (member, asked) = (node.member, ask(several.members[node.member].chain()?));
            Some(async move { (member, several.members[member].in_time(asked).await) })
        });
        let mut values = Vec::new();
        for (member, answer) in join_all(asked).await {
            match answer {
                Ok(value) => values.push((member, value)),
                Err(error) => {
                    let name = &several.members[member].name;
                    self.found.reasons.push(format!("{name}: {error}"));
                    if several.members[member].rests() {
                        self.answering.retain(|node| node.member != member);
                    }
                }
            }
        }
        values
    }

    /// Leaves out those that are not of the majority; all, where there is none. What the majority says.
    fn judge<T: Copy + Eq + Hash>(&mut self, values: &[(usize, T)], what: &str) -> Option<T> {
        if values.is_empty() {
            return None;
        }
        let (most, out, words) = match majority(values) {
            Some((most, out)) if out.is_empty() => return Some(most),
            Some((most, out)) => {
                let words = format!(
                    "PM-CHAIN-005: {} gives another {what} than the others; it is not used: mend it or take it out of --rpc",
                    self.named(&out)
                );
                (Some(most), out, words)
            }
            None => {
                let voters: Vec<usize> = values.iter().map(|(member, _)| *member).collect();
                let words = format!(
                    "PM-CHAIN-006: {} do not agree on {what}, and none has a majority; nothing is read or sent until they do, or \
                     the wrong one is taken out of --rpc",
                    self.named(&voters)
                );
                (None, voters, words)
            }
        };
        self.alarms.push(words);
        self.answering.retain(|node| !out.contains(&node.member));
        most
    }
}
