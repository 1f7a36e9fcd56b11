//! What follows from a look at the chain: first what happened to what was sent, then what to send.

use protocol::l1::{Fees, Receipt};

use super::{
    ChainView, Displacement, FinalityLook, Flight, LogsRead, Note, Settlement, SettlementEffect,
    SettlementRecord, SettlementRules, Submission, Tried, cost,
};

/// What became of a flight, or of a batch that no transaction of ours brought in.
enum Fate {
    /// One receipt for all, or one for each batch from the contract's own logs.
    Mined(Receipt),
    Failed(Receipt),
    /// It was mined, and is not any more.
    Gone(Receipt),
    Waiting,
    /// The node cannot say.
    Unknown,
}

impl Settlement {
    /// What follows from the chain as it is. Records and notes are to be applied in order.
    pub fn decide(&self, view: &ChainView, now: u64) -> Vec<SettlementEffect> {
        if let Some(reason) = self.contradiction(&view.contract) {
            return vec![SettlementEffect::Halt { batch_no: view.contract.batch_no, reason }];
        }
        if let Some((first, was)) = self.undone(&view.contract) {
            let last = self.finalised.map_or(first, |(last, _)| last);
            return match view.finality {
                FinalityLook::Replaced => {
                    let (was, head) = (was.clone(), view.head);
                    vec![SettlementEffect::Record(SettlementRecord::Dropped {
                        batch_no: first,
                        last,
                        was,
                        head,
                    })]
                }
                FinalityLook::Doubted => Vec::new(),
                FinalityLook::Stands => {
                    let reason = format!(
                        "PM-SETTLE-008: batch {last} is final, and the node has the contract at batch {} without having \
                         replaced block {}: it is behind, or several that differ answer for it; nothing is sent until it \
                         agrees",
                        view.contract.batch_no, was.block
                    );
                    vec![SettlementEffect::Alarm { batch_no: first, reason }]
                }
            };
        }
        let mut effects = Vec::new();
        let mut doubted = None;
        let sound = self.follow(view, &mut doubted, &mut effects);
        if doubted != self.doubted {
            effects.push(SettlementEffect::Note(Note::Doubted(doubted)));
        }
        if sound {
            self.keep_alive(view, now, &mut effects);
            self.begin(view, now, &mut effects);
        }
        effects
    }

    /// Believes receipts and logs, in order. Whether all that is on its way may still arrive. `doubted`: what is seen displaced
    /// for the first time.
    fn follow(
        &self,
        view: &ChainView,
        doubted: &mut Option<Displacement>,
        effects: &mut Vec<SettlementEffect>,
    ) -> bool {
        let mut all_final = true;
        let mut next = self.submissions.keys().next().copied();
        let mut sound = true;
        while let Some(first) = next {
            let flight = self.flight_of(first);
            let last = flight.map_or(first, |(_, flight)| flight.last);
            match self.fate(first, flight, view) {
                Fate::Mined(receipt) => {
                    for batch_no in first..=last {
                        let receipt =
                            self.accepted(batch_no, flight, view).unwrap_or_else(|| receipt.clone());
                        let was = self.submissions.get(&batch_no).and_then(|s| s.mined.clone());
                        all_final &= receipt.block <= view.final_block;
                        if was.as_ref() != Some(&receipt) {
                            effects.push(SettlementEffect::Record(SettlementRecord::Mined {
                                batch_no,
                                receipt,
                                was,
                            }));
                        }
                        if all_final {
                            effects.push(SettlementEffect::Record(SettlementRecord::Finalised { batch_no }));
                        }
                    }
                }
                Fate::Failed(receipt) => {
                    let reason = format!(
                        "PM-SETTLE-004: transaction 0x{} of batches {first} to {last} reverted in block {}; they pass the \
                         gates again",
                        hex::encode(receipt.tx),
                        receipt.block
                    );
                    let record = SettlementRecord::Reverted { batch_no: first, last, receipt };
                    effects.push(SettlementEffect::Record(record));
                    effects.push(SettlementEffect::Alarm { batch_no: first, reason });
                    self.give_up_behind(last, effects);
                    sound = false;
                    break;
                }
                Fate::Gone(was) => {
                    all_final = false;
                    let record = SettlementRecord::Dropped { batch_no: first, last, was, head: view.head };
                    effects.push(SettlementEffect::Record(record));
                    let newest = flight.and_then(|(_, flight)| flight.txs.last()).cloned();
                    effects.extend(newest.map(|tx| SettlementEffect::Send { batch_no: first, tx }));
                }
                Fate::Unknown => all_final = false,
                Fate::Waiting => {
                    all_final = false;
                    if let Some((nonce, _)) = flight
                        && self.is_displaced(nonce, first, view)
                    {
                        sound = false;
                        let seen = Displacement {
                            nonce,
                            next_nonce: self.next_nonce(view),
                            contract_at: view.contract.batch_no,
                        };
                        if self.doubted != Some(seen) {
                            *doubted = Some(seen);
                            break;
                        }
                        let record = SettlementRecord::Displaced { batch_no: first, last, nonce };
                        effects.push(SettlementEffect::Record(record));
                        self.give_up_behind(last, effects);
                        break;
                    }
                }
            }
            next = self.submissions.range(last + 1..).next().map(|(batch_no, _)| *batch_no);
        }
        sound
    }

    fn fate(&self, first: u32, flight: Option<(u64, &Flight)>, view: &ChainView) -> Fate {
        let newest = flight.and_then(|(_, flight)| flight.txs.last()).map(|tx| tx.hash);
        let txs = flight.map(|(_, flight)| flight.txs.as_slice()).unwrap_or_default();
        let found = txs.iter().find_map(|tx| view.receipts.get(&tx.hash));
        let mined = self.submissions.get(&first).and_then(|submission| submission.mined.clone());
        let unknown = view.logs == LogsRead::NotAll || txs.iter().any(|tx| view.unknown.contains(&tx.hash));
        match (found, self.accepted(first, flight, view), mined) {
            (Some(receipt), _, _) if receipt.success => Fate::Mined(receipt.clone()),
            (_, Some(receipt), _) => Fate::Mined(receipt),
            (Some(receipt), None, _) if newest.is_some() => Fate::Failed(receipt.clone()),
            (None, None, _) if unknown => Fate::Unknown,
            // The contract has it: receipt and log are only out of sight, as on a node that indexes late.
            (None, None, _) if view.contract.batch_no >= first => Fate::Unknown,
            (_, None, Some(was)) => Fate::Gone(was),
            (_, None, None) => Fate::Waiting,
        }
    }

    /// What the contract's own log says of a batch, where no receipt of ours does.
    fn accepted(&self, batch_no: u32, flight: Option<(u64, &Flight)>, view: &ChainView) -> Option<Receipt> {
        let ours = flight.is_some_and(|(_, flight)| {
            flight.txs.iter().any(|tx| view.receipts.get(&tx.hash).is_some_and(|receipt| receipt.success))
        });
        let submission = self.submissions.get(&batch_no)?;
        let log = view.accepted.get(&batch_no).filter(|log| !ours && log.new_root == submission.new_root)?;
        let known = submission.mined.clone().filter(|known| known.tx == log.tx && known.block == log.block);
        let from_log =
            Receipt { tx: log.tx, block: log.block, block_hash: [0; 32], success: true, gas_used: 0 };
        Some(known.unwrap_or(from_log))
    }

    /// Whether a waiting flight can never be mined as it is: its nonce is used, or the nonces before it are nobody's.
    fn is_displaced(&self, nonce: u64, first: u32, view: &ChainView) -> bool {
        let next = self.next_nonce(view);
        let used = next > nonce && view.contract.batch_no < first;
        let stranded = next < nonce && (next..nonce).any(|n| !self.flights.contains_key(&n));
        used || stranded
    }

    /// The owner's next nonce by mined transactions, as far as any node has said.
    fn next_nonce(&self, view: &ChainView) -> u64 {
        view.nonce.max(self.unused_from)
    }

    /// What builds on a batch that starts over starts over too.
    fn give_up_behind(&self, last: u32, effects: &mut Vec<SettlementEffect>) {
        let behind = self.flights.iter().filter(|(_, flight)| flight.first > last);
        effects.extend(behind.map(|(nonce, flight)| {
            SettlementEffect::Record(SettlementRecord::Displaced {
                batch_no: flight.first,
                last: flight.last,
                nonce: *nonce,
            })
        }));
    }

    /// Pays more for what waits, or sends it again.
    fn keep_alive(&self, view: &ChainView, now: u64, effects: &mut Vec<SettlementEffect>) {
        for (&nonce, flight) in &self.flights {
            let sent_already = effects.iter().any(|effect| {
                matches!(effect, SettlementEffect::Send { batch_no, .. } if *batch_no == flight.first)
            });
            let unknown = flight.txs.iter().any(|tx| view.unknown.contains(&tx.hash));
            if sent_already || unknown || view.nonce > nonce || arrived(flight, &self.submissions, view) {
                continue;
            }
            flight.keep_alive(nonce, view, &self.rules, now, effects);
        }
    }

    /// New transactions for what is proven and not on its way.
    fn begin(&self, view: &ChainView, now: u64, effects: &mut Vec<SettlementEffect>) {
        let contract_at = view.contract.batch_no;
        let is_held = self.held_at == Some(contract_at);
        if self.held_at.is_some() && !is_held {
            effects.push(SettlementEffect::Note(Note::Released));
        }
        let waiting: Vec<&Flight> =
            self.flights.values().filter(|flight| !arrived(flight, &self.submissions, view)).collect();
        if now < self.not_before || waiting.iter().any(|flight| flight.at_cap) {
            return;
        }
        let mut in_flight = waiting.len();
        let behind = self.flights.values().map(|flight| flight.last).max().unwrap_or(0).max(contract_at);
        let mut nonce = self
            .flights
            .keys()
            .next_back()
            .map_or(0, |nonce| nonce.saturating_add(1))
            .max(self.next_nonce(view));
        let mut first = behind.saturating_add(1);
        // All before `first` is accepted or on its way: batches are proven in order, and flights are given up from the back.
        while in_flight < self.rules.max_in_flight
            && let Some(last) = self.group(first)
        {
            let tried =
                if contract_at.checked_add(1) == Some(first) { Tried::Latest } else { Tried::Pending };
            if tried == Tried::Pending && (in_flight == 0 || is_held) {
                return;
            }
            effects.push(SettlementEffect::Submit {
                batch_no: first,
                last,
                nonce,
                fees: self.opening_fees(nonce, view.fees),
                tried,
                replaces: None,
            });
            (first, nonce, in_flight) = (last + 1, nonce.saturating_add(1), in_flight + 1);
        }
    }

    /// The last batch of the next transaction.
    fn group(&self, first: u32) -> Option<u32> {
        self.submissions.get(&first)?;
        let singly = first <= self.singly_up_to;
        let most = if singly { 1 } else { self.rules.max_batches_per_tx.max(1) };
        let mut gas = 0;
        let batches = self.submissions.range(first..).take(most as usize).take_while(|(_, submission)| {
            gas += submission.gas;
            cost::tx_gas(gas) <= self.rules.max_gas_per_tx
        });
        Some(batches.last().map_or(first, |(batch_no, _)| *batch_no))
    }

    /// The market's, or more than a transaction of the same nonce that was given up and may still wait at a node.
    fn opening_fees(&self, nonce: u64, market: Fees) -> Fees {
        let market = cost::capped(market, self.rules.max_fee);
        let over = |before: &Fees| cost::bump(*before, market, self.rules.bump_percent, self.rules.max_fee);
        self.given_up.get(&nonce).and_then(over).unwrap_or(market)
    }
}

/// Whether all its batches are in the contract, by what was just read.
fn arrived(
    flight: &Flight,
    submissions: &std::collections::BTreeMap<u32, Submission>,
    view: &ChainView,
) -> bool {
    let by_receipt = flight.txs.iter().any(|tx| view.receipts.contains_key(&tx.hash));
    by_receipt
        || (flight.first..=flight.last).all(|batch_no| {
            submissions.get(&batch_no).is_none_or(|submission| {
                view.accepted.get(&batch_no).is_some_and(|log| log.new_root == submission.new_root)
            })
        })
}

impl Flight {
    fn keep_alive(
        &self,
        nonce: u64,
        view: &ChainView,
        rules: &SettlementRules,
        now: u64,
        effects: &mut Vec<SettlementEffect>,
    ) {
        let (batch_no, last) = (self.first, self.last);
        let Some(tx) = self.txs.last() else { return };
        let mut at_cap = self.at_cap;
        if self.signed_at + rules.bump_ms <= now {
            if let Some(fees) = cost::bump(tx.fees, view.fees, rules.bump_percent, rules.max_fee) {
                effects.push(SettlementEffect::Submit {
                    batch_no,
                    last,
                    nonce,
                    fees,
                    tried: Tried::Before,
                    replaces: Some((tx.fees, self.gas_limit)),
                });
                return;
            }
            if !at_cap {
                let record = SettlementRecord::AtCap { batch_no, last, fees: tx.fees };
                effects.push(SettlementEffect::Record(record));
                at_cap = true;
            }
        }
        if self.sent_at + rules.resend_ms <= now {
            effects.push(SettlementEffect::Note(Note::Sent { nonce }));
            effects.push(SettlementEffect::Send { batch_no, tx: tx.clone() });
        }
        if at_cap {
            let reason = format!(
                "PM-SETTLE-005: transaction 0x{} of batches {batch_no} to {last}, nonce {nonce}, offers {} wei per gas, the \
                 cap, and is not mined; it is sent again until it is. Start with a higher --max-fee to pay more",
                hex::encode(tx.hash),
                tx.fees.max_fee
            );
            effects.push(SettlementEffect::Alarm { batch_no, reason });
        }
    }
}
