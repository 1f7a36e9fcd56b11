//! A slot as constraints, in two parts: `open` is everything that needs no tree (and so runs in parallel), `spend` proves
//! the leaf and replaces it.
//!
//! Every slot but a no-op enforces membership and `index < place`. A no-op leaves the leaf it names as it is, so its path
//! proves nothing and changes nothing. What a kind does not use is filled with values that satisfy the ungated rules.

use bn254::Fr;
use ff::Field;

use super::{ForcedKind, SlotInput};
use crate::{
    baby_jubjub::gadget::EdwardsPoint,
    eddsa::gadget::{dummy, verify},
    leaf::{COIN_BITS, address_word, two_to_64},
    message::{BATCH_BITS, INDEX_BITS, KIND_SHIFT, SPLIT_SHIFT, SignedKind, VALID_UNTIL_SHIFT, two_to},
    poseidon::gadget::hash,
    public_data::{TAG_EXIT, TAG_HIT, TAG_INDEX, TAG_REKEY, TAG_WITHDRAW, gadget::SlotRecord},
    r1cs::{
        Builder, Num, boolean, enforce_boolean, enforce_equal_if, enforce_product, hint, is_zero, mul,
        recompose, site, to_bits,
    },
    tree::{
        DEPTH, Siblings,
        gadget::{Digit, climb, one_hot, select, update},
    },
};

/// What all slots of a batch share.
#[derive(Clone)]
pub struct Common {
    pub domain: Num,
    pub batch_no: Num,
    pub batch_no_value: u32,
}

/// A slot after its first part.
#[derive(Clone)]
pub struct OpenSlot {
    /// The leaf for the slot's own place, 0 if it creates none.
    pub output: Num,
    pub record: SlotRecord,
    pub(crate) active: Num,
    pub(crate) leaf: Num,
    pub(crate) new_leaf: Num,
    pub(crate) digits: Vec<Digit>,
}

/// The values of a slot's free witnesses.
struct Fields {
    kind: Kind,
    index: u64,
    owner: Fr,
    key: crate::baby_jubjub::Point,
    signature: crate::eddsa::Signature,
    low: u64,
    high: u64,
    split: u64,
    recipient: Fr,
    valid_until: u32,
    /// Forced slots only: the account the leaf opens to, whether there is no leaf, what L1 asked.
    held_account: Fr,
    empty: bool,
    requested: Fr,
    new_account: Fr,
}

#[derive(PartialEq)]
enum Kind {
    Noop,
    Send,
    Withdraw,
    Exit,
    Rekey,
}

impl Fields {
    fn new(input: &SlotInput, batch_no: u32) -> Self {
        let (key, signature) = dummy();
        let idle = Fields {
            kind: Kind::Noop,
            index: 0,
            owner: Fr::ZERO,
            key,
            signature,
            low: 1,
            high: 1,
            split: 1,
            recipient: Fr::ZERO,
            valid_until: batch_no,
            held_account: Fr::ZERO,
            empty: false,
            requested: Fr::ZERO,
            new_account: Fr::ZERO,
        };
        match input {
            SlotInput::Noop => idle,
            SlotInput::Signed(spend) => Fields {
                kind: match spend.kind {
                    SignedKind::Send => Kind::Send,
                    SignedKind::Withdraw => Kind::Withdraw,
                },
                index: spend.index,
                owner: address_word(&spend.owner),
                key: spend.key,
                signature: spend.signature,
                low: spend.range.low(),
                high: spend.range.high(),
                split: spend.split,
                recipient: spend.recipient,
                valid_until: spend.valid_until,
                held_account: spend.account(),
                ..idle
            },
            SlotInput::Forced(entry) => {
                let range = entry.held.map(|held| held.range);
                let high = range.map_or(1, |r| r.high());
                Fields {
                    kind: match entry.kind {
                        ForcedKind::Exit => Kind::Exit,
                        ForcedKind::Rekey => Kind::Rekey,
                    },
                    index: entry.index,
                    low: range.map_or(1, |r| r.low()),
                    high,
                    split: high,
                    held_account: entry.held.map_or(Fr::ZERO, |held| held.account),
                    empty: entry.held.is_none(),
                    requested: entry.account,
                    new_account: entry.new_account,
                    ..idle
                }
            }
        }
    }
}

/// The first part. `place` is the slot's own output index; `may_force` says whether the slot can hold a forced entry.
pub fn open<B: Builder>(
    b: &mut B,
    common: &Common,
    place: &Num,
    may_force: bool,
    input: &SlotInput,
) -> OpenSlot {
    let f = Fields::new(input, common.batch_no_value);
    b.enter(site!("slot"));

    // Exactly one kind, or none.
    let send = boolean(b, site!("send"), f.kind == Kind::Send);
    let withdraw = boolean(b, site!("withdraw"), f.kind == Kind::Withdraw);
    let forced_kinds = may_force.then(|| {
        let exit = boolean(b, site!("exit"), f.kind == Kind::Exit);
        (exit, boolean(b, site!("re-key"), f.kind == Kind::Rekey))
    });
    let signed = send.add(&withdraw);
    let forced = forced_kinds.as_ref().map_or_else(Num::zero, |(exit, rekey)| exit.add(rekey));
    let active = signed.add(&forced);
    enforce_boolean(b, site!("one kind or none"), &active);

    let index_bits: Vec<Num> =
        (0..INDEX_BITS).map(|i| boolean(b, site!("index bit"), f.index >> i & 1 == 1)).collect();
    let digits: Vec<Digit> =
        index_bits.chunks(2).map(|bits| Digit::new(b, site!("index digit"), &bits[0], &bits[1])).collect();
    let index = recompose(&index_bits);

    // index < place for everything but a no-op: a coin may move several times in a batch, never in a circle.
    let ahead = mul(b, site!("distance to the place"), &active, &place.sub(&index).add_constant(-Fr::ONE));
    to_bits(b, site!("index before the place"), &ahead, INDEX_BITS);

    // 63 bits each: a leaf opens in one way only, and low <= split <= high.
    let low = hint(b, site!("low"), Fr::from(f.low));
    let high = hint(b, site!("high"), Fr::from(f.high));
    let split = hint(b, site!("split"), Fr::from(f.split));
    to_bits(b, site!("low"), &low, COIN_BITS);
    to_bits(b, site!("high"), &high, COIN_BITS);
    to_bits(b, site!("split from low on"), &split.sub(&low), COIN_BITS);
    let left = high.sub(&split);
    to_bits(b, site!("split up to high"), &left, COIN_BITS);
    let spends_all = is_zero(b, site!("nothing is left"), &left);

    let owner = hint(b, site!("owner"), f.owner);
    let key = EdwardsPoint::hint(b, site!("key"), &f.key);
    let key_hash = hash(b, site!("key hash"), &[&key.x, &key.y]);
    let key_account = hash(b, site!("account of the key"), &[&owner, &key_hash]);

    // A forced slot does not open the account with a key: L1 checked who asks.
    let opening = forced_kinds.as_ref().map(|_| {
        let account = hint(b, site!("account"), f.held_account);
        enforce_equal_if(b, site!("a signer opens the account of his key"), &signed, &account, &key_account);
        let empty = boolean(b, site!("empty"), f.empty);
        enforce_product(b, site!("a signed leaf is not empty"), &signed, &empty, &Num::zero());
        (account, empty)
    });
    let account = opening.as_ref().map_or(&key_account, |(account, _)| account).clone();
    let range = high.add_scaled(&low, two_to_64());
    let full_leaf = hash(b, site!("leaf"), &[&account, &range]);
    let leaf = match &opening {
        Some((_, empty)) => mul(b, site!("leaf unless empty"), &empty.not(), &full_leaf),
        None => full_leaf,
    };

    let recipient = hint(b, site!("recipient"), f.recipient);
    let valid_until = hint(b, site!("validUntil"), Fr::from(u64::from(f.valid_until)));
    to_bits(b, site!("validUntil"), &valid_until, BATCH_BITS);
    to_bits(b, site!("valid in this batch"), &valid_until.sub(&common.batch_no), BATCH_BITS);
    enforce_product(b, site!("a withdrawal has no recipient"), &withdraw, &recipient, &Num::zero());
    let kind = send
        .scale(Fr::from(SignedKind::Send as u64))
        .add_scaled(&withdraw, Fr::from(SignedKind::Withdraw as u64));
    let packed = index
        .add_scaled(&split, two_to(SPLIT_SHIFT))
        .add_scaled(&kind, two_to(KIND_SHIFT))
        .add_scaled(&valid_until, two_to(VALID_UNTIL_SHIFT));
    let message = hash(b, site!("message"), &[&common.domain, &leaf, &packed, &recipient]);
    verify(b, &signed, &key, &message, &f.signature);

    let paid = split.add_scaled(&low, two_to_64());
    let output_leaf = hash(b, site!("output leaf"), &[&recipient, &paid]);
    let output = mul(b, site!("output of a send"), &send, &output_leaf);

    // The leaf is rewritten as change (same account, higher low), or by a re-key (same range, new account).
    let change = high.add_scaled(&split.add_constant(Fr::ONE), two_to_64());
    let open = match (forced_kinds, opening) {
        (Some((exit, rekey)), Some((account, empty))) => {
            let requested = hint(b, site!("requested account"), f.requested);
            let new_account = hint(b, site!("new account"), f.new_account);
            let same_account = is_zero(b, site!("requested account holds it"), &account.sub(&requested));
            let hit = mul(b, site!("hit"), &same_account, &empty.not());
            let exit_hit = mul(b, site!("exit hits"), &exit, &hit);
            let rekey_hit = mul(b, site!("re-key hits"), &rekey, &hit);

            let rewritten_account =
                mul(b, site!("rewritten account"), &rekey, &new_account.sub(&account)).add(&account);
            let rewritten_range = mul(b, site!("rewritten range"), &rekey, &range.sub(&change)).add(&change);
            let rewritten = hash(b, site!("rewritten leaf"), &[&rewritten_account, &rewritten_range]);
            let rest = mul(b, site!("rest after a signature"), &spends_all.not(), &rewritten);
            let by_signature = mul(b, site!("leaf after a signature"), &signed, &rest.sub(&leaf));
            let by_exit = mul(b, site!("leaf after an exit"), &exit_hit, &leaf).scale(-Fr::ONE);
            let by_rekey = mul(b, site!("leaf after a re-key"), &rekey_hit, &rewritten.sub(&leaf));
            let new_leaf = leaf.add(&by_signature).add(&by_exit).add(&by_rekey);

            let forced_index = mul(b, site!("index of a forced record"), &forced, &index);
            let tag = withdraw
                .scale(Fr::from(TAG_WITHDRAW))
                .add_scaled(&exit, Fr::from(TAG_EXIT))
                .add_scaled(&rekey, Fr::from(TAG_REKEY))
                .add_scaled(&exit_hit.add(&rekey_hit), Fr::from(TAG_HIT))
                .add_scaled(&forced_index, Fr::from(TAG_INDEX));
            let who = mul(b, site!("owner in a record"), &withdraw, &owner).add(&mul(
                b,
                site!("account in a record"),
                &forced,
                &requested,
            ));
            let what = mul(b, site!("coins withdrawn"), &withdraw, &paid)
                .add(&mul(b, site!("coins that exit"), &exit_hit, &range))
                .add(&mul(b, site!("new account in a record"), &rekey, &new_account));
            let record = SlotRecord { words: [tag, who, what], shown: withdraw.add(&forced) };
            OpenSlot { output, record, active, leaf, new_leaf, digits }
        }
        _ => {
            let rewritten = hash(b, site!("change leaf"), &[&account, &change]);
            let rest = mul(b, site!("rest"), &spends_all.not(), &rewritten);
            let new_leaf = mul(b, site!("leaf after"), &signed, &rest.sub(&leaf)).add(&leaf);
            let words = [
                withdraw.scale(Fr::from(TAG_WITHDRAW)),
                mul(b, site!("owner in the record"), &withdraw, &owner),
                mul(b, site!("coins in the record"), &withdraw, &paid),
            ];
            let record = SlotRecord { words, shown: withdraw };
            OpenSlot { output, record, active, leaf, new_leaf, digits }
        }
    };
    b.leave();
    open
}

/// The second part: proves the leaf under `nodes` (all nodes of the tree on one level) and returns the nodes after it.
/// `siblings` are those on the path below that level when the slot runs.
pub fn spend<B: Builder>(b: &mut B, slot: &OpenSlot, nodes: &[Num], siblings: &[Siblings]) -> Vec<Num> {
    let (lower, upper) = slot.digits.split_at(siblings.len());
    debug_assert_eq!(lower.len() + upper.len(), DEPTH);
    b.enter(site!("spend"));
    let (old, new) = climb(b, site!("path"), slot.leaf.clone(), slot.new_leaf.clone(), lower, siblings);
    let selectors = one_hot(b, site!("selector"), upper);
    let selected = select(b, site!("selected node"), &selectors, nodes);
    enforce_equal_if(b, site!("the leaf is in the tree"), &slot.active, &selected, &old);
    let nodes = update(b, site!("node after"), &selectors, nodes, &new.sub(&old));
    b.leave();
    nodes
}
