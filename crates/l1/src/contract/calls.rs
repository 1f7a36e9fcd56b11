//! Deployment code, call data, and the answers of views.

use bn254::Fr;
use ethers::{
    abi::{AbiDecode, AbiEncode, Tokenize},
    types::U256,
};

use crate::contract::{
    bindings as abi,
    convert::{fr_u256, fr_word, h160, u256_fr, u256_u64, u256_u128, u256_word},
    errors::DecodeError,
    events::forced_kind,
    key::{VerifyingKey, g1_words, g2_words, u256s},
    types::{
        Address, Batch, ChainState, CircuitKey, Config, ForcedEntry, ForcedKind, MintEntry, Record, Word,
    },
};

/// Creation code with its arguments: the data of the transaction that deploys the contract.
pub fn deploy_bytecode(config: &Config, circuits: &[CircuitKey]) -> Vec<u8> {
    let config = abi::Config {
        operator: h160(&config.operator),
        quantum: config.quantum,
        deposit_fee_bps: config.deposit_fee_bps,
        deposit_fee_floor: config.deposit_fee_floor,
        exit_fee_bps: config.exit_fee_bps,
        exit_fee_floor: config.exit_fee_floor,
        queue_delay: config.queue_delay,
        queue_spacing: config.queue_spacing,
        force_base_fee: config.force_base_fee.into(),
        force_surcharge_step: config.force_surcharge_step.into(),
        promise_signers: config.promise_signers.iter().map(h160).collect(),
    };
    let circuits: Vec<abi::Circuit> = circuits.iter().map(circuit).collect();
    let mut code = abi::PROOFMILL_BYTECODE.to_vec();
    code.extend(ethers::abi::encode(&(config, circuits).into_tokens()));
    code
}

fn circuit(circuit: &CircuitKey) -> abi::Circuit {
    abi::Circuit {
        number: circuit.number,
        slots: circuit.slots,
        mint_places: circuit.mint_places,
        dev_key: circuit.dev_key,
        digest: circuit.digest,
        key: verifying_key(&circuit.key),
    }
}

/// A key as the generated bindings take it.
pub(crate) fn verifying_key(key: &VerifyingKey) -> abi::VerifyingKey {
    let mut ic = [U256::zero(); 8];
    for (words, point) in ic.chunks_exact_mut(2).zip(&key.ic) {
        words.copy_from_slice(&u256s(&g1_words(point)));
    }
    abi::VerifyingKey {
        alpha: u256s(&g1_words(&key.alpha)),
        beta: u256s(&g2_words(&key.beta)),
        gamma: u256s(&g2_words(&key.gamma)),
        delta: u256s(&g2_words(&key.delta)),
        ic,
    }
}

/// `deposit(owner, keyHash)`; the value sent is the amount.
pub fn deposit(owner: &Address, key_hash: &Fr) -> Vec<u8> {
    abi::DepositCall { owner: h160(owner), key_hash: fr_u256(key_hash) }.encode()
}

/// `forceExit(index, keyHash)`; the value sent is at least [`force_fee`].
pub fn force_exit(index: u64, key_hash: &Fr) -> Vec<u8> {
    abi::ForceExitCall { index, key_hash: fr_u256(key_hash) }.encode()
}

/// `forceRekey(index, keyHash, newKeyHash)`; the value sent is at least [`force_fee`].
pub fn force_rekey(index: u64, key_hash: &Fr, new_key_hash: &Fr) -> Vec<u8> {
    abi::ForceRekeyCall { index, key_hash: fr_u256(key_hash), new_key_hash: fr_u256(new_key_hash) }.encode()
}

/// `submitBatch(batch, proof)`; for the proof see [`crate::contract::proof_words`].
pub fn submit_batch(batch: &Batch, proof: &[Word; 8]) -> Vec<u8> {
    submit_batch_call(batch, proof).encode()
}

/// `submitBatches(batches, proofs)`: all of them in order, or none.
pub fn submit_batches(proven: &[(Batch, [Word; 8])]) -> Vec<u8> {
    submit_batches_call(proven).encode()
}

/// The generated call behind [`submit_batch`].
pub(crate) fn submit_batch_call(batch: &Batch, proof: &[Word; 8]) -> abi::SubmitBatchCall {
    abi::SubmitBatchCall { batch: abi_batch(batch), proof: u256s(proof) }
}

/// The generated call behind [`submit_batches`].
pub(crate) fn submit_batches_call(proven: &[(Batch, [Word; 8])]) -> abi::SubmitBatchesCall {
    abi::SubmitBatchesCall {
        batches: proven.iter().map(|(batch, _)| abi_batch(batch)).collect(),
        proofs: proven.iter().map(|(_, proof)| u256s(proof)).collect(),
    }
}

fn abi_batch(batch: &Batch) -> abi::Batch {
    abi::Batch {
        circuit: batch.circuit,
        start: batch.start,
        mid_root: fr_u256(&batch.mid_root),
        new_root: fr_u256(&batch.new_root),
        h: fr_u256(&batch.h),
        mints: batch.mints.iter().map(mint_entry).collect(),
        records: batch.records.iter().map(|record| record.words().map(|word| fr_u256(&word))).collect(),
        forced: batch.records.iter().filter_map(Record::forced).map(forced_entry).collect(),
    }
}

/// Reads the call data of an accepted `submitBatch`.
///
/// # Errors
/// `Malformed` or `OutOfRange` where the data is not such a call.
pub fn decode_submit_batch(data: &[u8]) -> Result<(Batch, [Word; 8]), DecodeError> {
    let call = abi::SubmitBatchCall::decode(data).map_err(malformed("submitBatch"))?;
    Ok((plain_batch(call.batch)?, call.proof.map(u256_word)))
}

/// Reads the call data of an accepted `submitBatches`.
///
/// # Errors
/// `Malformed` or `OutOfRange` where the data is not such a call.
pub fn decode_submit_batches(data: &[u8]) -> Result<Vec<(Batch, [Word; 8])>, DecodeError> {
    let call = abi::SubmitBatchesCall::decode(data).map_err(malformed("submitBatches"))?;
    let proofs = call.proofs.into_iter().map(|proof| proof.map(u256_word));
    call.batches.into_iter().zip(proofs).map(|(batch, proof)| Ok((plain_batch(batch)?, proof))).collect()
}

fn plain_batch(batch: abi::Batch) -> Result<Batch, DecodeError> {
    let mut mints = Vec::with_capacity(batch.mints.len());
    for mint in &batch.mints {
        mints.push(MintEntry {
            account: u256_fr("account", mint.account)?,
            low: mint.low,
            high: mint.high,
            depositor: mint.depositor.0,
            deadline: mint.deadline,
        });
    }
    let mut forced = batch.forced.iter();
    let mut records = Vec::with_capacity(batch.records.len());
    for words in &batch.records {
        let record = record(words, &mut forced)?;
        let expected = record.words().map(|word| fr_u256(&word));
        if expected != *words {
            return Err(DecodeError::OutOfRange { field: "record" });
        }
        records.push(record);
    }
    Ok(Batch {
        circuit: batch.circuit,
        start: batch.start,
        mid_root: u256_fr("midRoot", batch.mid_root)?,
        new_root: u256_fr("newRoot", batch.new_root)?,
        h: u256_fr("h", batch.h)?,
        mints,
        records,
    })
}

fn record<'a>(
    words: &[U256; 3],
    forced: &mut impl Iterator<Item = &'a abi::ForcedEntry>,
) -> Result<Record, DecodeError> {
    let range = || -> Result<(u64, u64), DecodeError> {
        let high = words[2] & U256::from(u64::MAX);
        Ok((u256_u64("low", words[2] >> 64)?, u256_u64("high", high)?))
    };
    if words[0] == U256::from(2) {
        let (low, high) = range()?;
        let mut owner = Address::default();
        owner.copy_from_slice(&u256_word(words[1])[12..]);
        return Ok(Record::Withdraw { owner, low, high });
    }
    let entry = forced.next().ok_or(DecodeError::OutOfRange { field: "forced entries" })?;
    let entry = ForcedEntry {
        kind: forced_kind(entry.kind)?,
        index: entry.index,
        account: u256_fr("account", entry.account)?,
        new_account: u256_fr("newAccount", entry.new_account)?,
        owner: entry.owner.0,
        deadline: entry.deadline,
    };
    let hit = words[0].bit(4);
    Ok(match entry.kind {
        ForcedKind::Exit => Record::Exit { entry, hit: if hit { Some(range()?) } else { None } },
        ForcedKind::Rekey => Record::Rekey { entry, hit },
    })
}

/// `withdraw(to)`: pays what is credited to the sender.
pub fn withdraw(to: &Address) -> Vec<u8> {
    abi::WithdrawCall { to: h160(to) }.encode()
}

/// `withdrawFor(owner)`: pays an owner, whoever sends it.
pub fn withdraw_for(owner: &Address) -> Vec<u8> {
    abi::WithdrawForCall { owner: h160(owner) }.encode()
}

/// `collectFees(to)`, of the operator.
pub fn collect_fees(to: &Address) -> Vec<u8> {
    abi::CollectFeesCall { to: h160(to) }.encode()
}

/// `depositStake()`; the value sent is the stake.
pub fn deposit_stake() -> Vec<u8> {
    abi::DepositStakeCall.encode()
}

/// `addPromiseSigner(signer)`, of the operator.
pub fn add_promise_signer(signer: &Address) -> Vec<u8> {
    abi::AddPromiseSignerCall { signer: h160(signer) }.encode()
}

/// `bumpKeyEpoch()`.
pub fn bump_key_epoch() -> Vec<u8> {
    abi::BumpKeyEpochCall.encode()
}

/// `state()`; answer by [`decode_state`].
pub fn state() -> Vec<u8> {
    abi::StateCall.encode()
}

/// `pending(owner)`; answer by [`decode_u128`], in wei.
pub fn pending(owner: &Address) -> Vec<u8> {
    abi::PendingCall { owner: h160(owner) }.encode()
}

/// `keyEpoch(owner)`; answer by [`decode_u128`].
pub fn key_epoch(owner: &Address) -> Vec<u8> {
    abi::KeyEpochCall { owner: h160(owner) }.encode()
}

/// `isPromiseSigner(signer)`; answer by [`decode_bool`].
pub fn is_promise_signer(signer: &Address) -> Vec<u8> {
    abi::IsPromiseSignerCall { signer: h160(signer) }.encode()
}

/// `forceFee()`; answer by [`decode_force_fee`].
pub fn force_fee() -> Vec<u8> {
    abi::ForceFeeCall.encode()
}

/// `liabilities()`; answer by [`decode_u128`], in wei.
pub fn liabilities() -> Vec<u8> {
    abi::LiabilitiesCall.encode()
}

/// `domain()`; answer by [`decode_fr`].
pub fn domain() -> Vec<u8> {
    abi::DomainCall.encode()
}

/// `quantum()`; answer by [`decode_u128`], in wei.
pub fn quantum() -> Vec<u8> {
    abi::QuantumCall.encode()
}

/// `depositFeeBps()`; answer by [`decode_u128`].
pub fn deposit_fee_bps() -> Vec<u8> {
    abi::DepositFeeBpsCall.encode()
}

/// `depositFeeFloor()`; answer by [`decode_u128`], in coins.
pub fn deposit_fee_floor() -> Vec<u8> {
    abi::DepositFeeFloorCall.encode()
}

/// `exitFeeBps()`; answer by [`decode_u128`].
pub fn exit_fee_bps() -> Vec<u8> {
    abi::ExitFeeBpsCall.encode()
}

/// `exitFeeFloor()`; answer by [`decode_u128`], in coins.
pub fn exit_fee_floor() -> Vec<u8> {
    abi::ExitFeeFloorCall.encode()
}

/// `poseidon()`; the answer's last 20 bytes.
pub fn poseidon() -> Vec<u8> {
    abi::PoseidonCall.encode()
}

/// `operator()`; the answer's last 20 bytes.
pub fn operator() -> Vec<u8> {
    abi::OperatorCall.encode()
}

/// `history(batchNo)`; answer by [`decode_word`].
pub fn history(batch_no: u32) -> Vec<u8> {
    abi::HistoryCall { batch: batch_no }.encode()
}

/// `circuitInfo(number)`; answer by [`decode_circuit_info`].
pub fn circuit_info(number: u32) -> Vec<u8> {
    abi::CircuitInfoCall { number }.encode()
}

/// A circuit as the contract has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitInfo {
    /// N.
    pub slots: u32,
    /// M.
    pub mint_places: u32,
    /// Of the circuit's matrices.
    pub digest: Word,
    /// The verifying key: alpha (x, y), then beta, gamma, delta in G2 (x.c1, x.c0, y.c1, y.c0 each), then (x, y) of the four points of
    /// the inputs.
    pub key: Vec<Word>,
}

/// Answer of [`circuit_info`].
///
/// # Errors
/// `Malformed` where the data is not the answer of `circuitInfo`.
pub fn decode_circuit_info(data: &[u8]) -> Result<CircuitInfo, DecodeError> {
    let info = abi::CircuitInfoReturn::decode(data).map_err(malformed("circuitInfo"))?;
    let abi::VerifyingKey { alpha, beta, gamma, delta, ic } = info.key;
    let words = alpha.into_iter().chain(beta).chain(gamma).chain(delta).chain(ic);
    Ok(CircuitInfo {
        slots: info.slots,
        mint_places: info.mint_places,
        digest: info.digest,
        key: words.map(u256_word).collect(),
    })
}

/// Answer of [`state`].
///
/// # Errors
/// `Malformed` or `OutOfRange` where the data is not such an answer.
pub fn decode_state(data: &[u8]) -> Result<ChainState, DecodeError> {
    let state = abi::StateReturn::decode(data).map_err(malformed("state"))?.0;
    Ok(ChainState {
        batch_no: state.batch_no,
        next: state.next,
        minted_up_to: state.minted_up_to,
        forced_up_to: state.forced_up_to,
        deposit_count: state.deposit_count,
        forced_count: state.forced_count,
        root: u256_fr("root", state.root)?,
    })
}

/// Base fee and surcharge of a forced request, in wei.
///
/// # Errors
/// `Malformed` or `OutOfRange` where the data is not such an answer.
pub fn decode_force_fee(data: &[u8]) -> Result<(u128, u128), DecodeError> {
    let (base, surcharge) = <(U256, U256)>::decode(data).map_err(malformed("forceFee"))?;
    Ok((u256_u128("base fee", base)?, u256_u128("surcharge", surcharge)?))
}

/// One word.
///
/// # Errors
/// `Malformed` unless there are 32 bytes.
pub fn decode_word(data: &[u8]) -> Result<Word, DecodeError> {
    data.try_into()
        .map_err(|_| DecodeError::Malformed { what: "a word", reason: format!("{} bytes", data.len()) })
}

/// A number below 2^128.
///
/// # Errors
/// `Malformed` unless there are 32 bytes, `OutOfRange` above 2^128.
pub fn decode_u128(data: &[u8]) -> Result<u128, DecodeError> {
    u256_u128("number", U256::from_big_endian(&decode_word(data)?))
}

/// A truth value.
///
/// # Errors
/// `Malformed` unless there are 32 bytes, `OutOfRange` for anything but 0 and 1.
pub fn decode_bool(data: &[u8]) -> Result<bool, DecodeError> {
    match decode_u128(data)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::OutOfRange { field: "truth value" }),
    }
}

/// An element of the scalar field.
///
/// # Errors
/// `Malformed` unless there are 32 bytes, `OutOfRange` from r on.
pub fn decode_fr(data: &[u8]) -> Result<Fr, DecodeError> {
    u256_fr("field element", U256::from_big_endian(&decode_word(data)?))
}

/// The big-endian word of a field element.
pub fn word(x: &Fr) -> Word {
    fr_word(x)
}

/// A deposit as the generated bindings take it.
pub(crate) fn mint_entry(entry: &MintEntry) -> abi::MintEntry {
    abi::MintEntry {
        account: fr_u256(&entry.account),
        low: entry.low,
        high: entry.high,
        depositor: h160(&entry.depositor),
        deadline: entry.deadline,
    }
}

/// A forced request as the generated bindings take it.
pub(crate) fn forced_entry(entry: &ForcedEntry) -> abi::ForcedEntry {
    abi::ForcedEntry {
        kind: entry.kind.number(),
        index: entry.index,
        account: fr_u256(&entry.account),
        new_account: fr_u256(&entry.new_account),
        owner: h160(&entry.owner),
        deadline: entry.deadline,
    }
}

fn malformed(what: &'static str) -> impl Fn(ethers::abi::AbiError) -> DecodeError {
    move |error| DecodeError::Malformed { what, reason: error.to_string() }
}
