//! A coordinator that is honest until it is told to lie: its ledger is a few leaves, its answers are those of the real one.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bn254::{Fr, fr_from_be_bytes, fr_to_hex};
use circuits::{
    baby_jubjub::Point,
    leaf::{CoinRange, account, address_word, leaf},
    message::{Message, SignedKind},
    public_data::domain,
};
use client::{
    api::{Kind, Signature, SignedSpend, Submit},
    holder::Holder,
};
use devchain::DEV_ACCOUNTS;
use protocol::{
    Address,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
};
use serde_json::{Value, json};

use crate::{http::Reply, mill::Mill, world::holder};

pub const QUANTUM: u64 = 1_000_000_000;
const DEADLINE: u64 = 600;

type Lie = Box<dyn Fn(&mut Value) + Send>;
type Before = Box<dyn FnMut(&mut Ledger) -> Option<Reply> + Send>;

/// What is held and what was accepted.
pub struct Ledger {
    /// Index, first and last coin.
    pub leaves: Vec<(u64, u64, u64)>,
    pub batch: u32,
    pub next: u64,
    pub roots: BTreeMap<u32, Fr>,
    /// By idempotency key: the input as it came, and the answer.
    pub accepted: BTreeMap<String, (Value, Value)>,
    /// Inputs of submissions, in order, repeated ones too.
    pub submitted: Vec<String>,
    pub proofs: BTreeMap<u64, Value>,
    /// In which block of L1 a batch is.
    pub blocks: BTreeMap<u32, u64>,
}

pub struct Coordinator {
    pub ledger: Mutex<Ledger>,
    /// Answers of a root field that are not what they should be.
    lie: Mutex<Option<(&'static str, Lie)>>,
    /// Comes before, instead of, or after a submission.
    pub before_submit: Mutex<Option<Before>>,
    pub after_submit: Mutex<Option<Before>>,
    pub reads: AtomicUsize,
    contract: Address,
    digest: String,
    alice: (Address, Point),
    pub alice_account: Fr,
    bob: Value,
    pub bob_account: Fr,
    pub operator: OperatorKey,
}

fn point(point: &Point) -> Value {
    json!({ "x": fr_to_hex(&point.x), "y": fr_to_hex(&point.y) })
}

pub fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn field(value: &Value) -> Fr {
    bn254::fr_from_hex(value.as_str().unwrap()).unwrap()
}

fn bytes<const N: usize>(value: &Value) -> Option<[u8; N]> {
    hex::decode(value.as_str()?.trim_start_matches("0x")).ok()?.try_into().ok()
}

pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn refused(code: &str, retryable: bool) -> Value {
    json!({
        "operation": null,
        "userErrors": [{ "code": code, "message": "no", "path": ["input"], "retryable": retryable }],
    })
}

impl Coordinator {
    pub fn new(mill: &Mill, alice: &Holder, bob: &Holder) -> Self {
        let entry = bob.directory_entry();
        let ledger = Ledger {
            leaves: vec![(1, 1, 1_000_000), (2, 1_000_001, 1_500_000)],
            batch: 1,
            next: 64,
            roots: BTreeMap::new(),
            accepted: BTreeMap::new(),
            submitted: Vec::new(),
            proofs: BTreeMap::new(),
            blocks: BTreeMap::new(),
        };
        Self {
            ledger: Mutex::new(ledger),
            lie: Mutex::default(),
            before_submit: Mutex::default(),
            after_submit: Mutex::default(),
            reads: AtomicUsize::new(0),
            contract: mill.contract,
            digest: hex(&crate::mill::digest()),
            alice: (alice.address(), alice.key),
            alice_account: account(&alice.address(), &alice.key_hash()),
            bob: json!({
                "owner": hex(&entry.owner), "key": point(&entry.key), "keyEpoch": 0, "signature": hex(&entry.signature),
            }),
            bob_account: account(&bob.address(), &bob.key_hash()),
            operator: OperatorKey::from_hex(DEV_ACCOUNTS[0].private_key).unwrap(),
        }
    }

    pub fn lies(&self, about: &'static str, lie: impl Fn(&mut Value) + Send + 'static) {
        *self.lie.lock().unwrap() = Some((about, Box::new(lie)));
    }

    pub fn is_honest_again(&self) {
        *self.lie.lock().unwrap() = None;
        *self.before_submit.lock().unwrap() = None;
        *self.after_submit.lock().unwrap() = None;
    }

    pub fn accepted(&self) -> usize {
        self.ledger.lock().unwrap().accepted.len()
    }

    pub fn submissions(&self) -> usize {
        self.ledger.lock().unwrap().submitted.len()
    }

    pub fn domain(&self) -> SigningDomain {
        SigningDomain { chain_id: 31_337, contract: self.contract }
    }

    pub fn answer(&self, request: &Value) -> Reply {
        let document = request["query"].as_str().unwrap_or_default();
        let body = document.split_once('{').map_or("", |(_, body)| body.trim_start());
        let name: String = body.chars().take_while(|letter| letter.is_ascii_alphanumeric()).collect();
        let variables = &request["variables"];
        let mut value = match name.as_str() {
            "send" | "withdraw" => match self.submit(&name, &variables["input"]) {
                Ok(value) => value,
                Err(reply) => return reply,
            },
            _ => self.read(&name, variables),
        };
        if let Some((about, lie)) = &*self.lie.lock().unwrap()
            && *about == name
        {
            lie(&mut value);
        }
        Reply::Json(json!({ "data": { name: value } }))
    }

    fn read(&self, name: &str, variables: &Value) -> Value {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let ledger = self.ledger.lock().unwrap();
        match name {
            "system" => json!({
                "version": "0", "chainId": "31337", "contract": hex(&self.contract),
                "domain": fr_to_hex(&domain(31_337, &self.contract)), "operator": hex(&self.operator.address()),
                "promiseSigner": hex(&self.operator.address()),
                "limits": { "quantum": QUANTUM.to_string(), "minAmount": "1", "maxLeavesPerOperation": 3 },
                "circuits": [{ "name": "s3m1", "number": 1, "slots": 3, "mintPlaces": 1, "digest": self.digest }],
                "devKey": true, "l1": { "head": "9", "finalized": "9" },
                "progress": {
                    "openBatch": ledger.batch, "sealedBatch": 0, "provenBatch": 0, "finalBatch": 0,
                    "stateRoot": fr_to_hex(&Fr::from(1)), "provenRoot": fr_to_hex(&Fr::from(1)),
                    "finalRoot": fr_to_hex(&Fr::from(1)),
                },
                "intakeAlarm": null, "draining": false,
            }),
            "account" => self.account(&ledger),
            "directoryEntry" => self.bob.clone(),
            "operation" => {
                let id = variables["id"].as_str().unwrap();
                let mut answers = ledger.accepted.values().map(|(_, answer)| answer);
                answers.find(|answer| answer["id"] == id).cloned().unwrap_or(Value::Null)
            }
            "batch" => {
                let batch = u32::try_from(variables["number"].as_u64().unwrap()).unwrap();
                let root = ledger.roots.get(&batch).map(fr_to_hex);
                let block = ledger.blocks.get(&batch).map(u64::to_string);
                json!({
                    "number": batch, "circuit": "s3m1", "stage": "FINAL", "start": "0", "oldRoot": null, "midRoot": null,
                    "newRoot": root, "publicInputs": null, "proof": null, "worker": null, "attempts": 1, "proveMs": null,
                    "witnessMs": null, "l1Tx": null, "l1Block": block, "gasUsed": null, "timeline": [],
                })
            }
            "ownershipProof" => match ledger.proofs.get(&number(&variables["index"])) {
                Some(proof) => json!({ "proof": proof, "userErrors": [] }),
                None => json!({
                    "proof": null,
                    "userErrors": [{ "code": "LEAF_EMPTY", "message": "no", "path": [], "retryable": false }],
                }),
            },
            "prepareSend" | "prepareWithdraw" => self.draft(&ledger, name, &variables["input"]),
            other => panic!("the coordinator of this test knows no {other}"),
        }
    }

    fn account(&self, ledger: &Ledger) -> Value {
        let key_hash = circuits::leaf::key_hash(&self.alice.1);
        let coins: Vec<Value> = ledger
            .leaves
            .iter()
            .map(|(index, low, high)| {
                json!({
                    "index": index.to_string(), "owner": hex(&self.alice.0),
                    "account": fr_to_hex(&account(&self.alice.0, &key_hash)), "keyHash": fr_to_hex(&key_hash),
                    "low": low.to_string(), "high": high.to_string(),
                    "amount": (u128::from(high - low + 1) * u128::from(QUANTUM)).to_string(), "batchNumber": 1,
                    "stage": "FINAL",
                })
            })
            .collect();
        let sum: u128 = ledger.leaves.iter().map(|(_, low, high)| u128::from(high - low + 1)).sum();
        let sum = (sum * u128::from(QUANTUM)).to_string();
        let page = json!({ "hasNextPage": false, "endCursor": null });
        json!({
            "balances": { "accepted": sum, "proven": sum, "final": sum },
            "coins": { "nodes": coins, "pageInfo": page },
            "operations": { "nodes": [], "pageInfo": page },
        })
    }

    /// From the first leaves that are enough.
    fn draft(&self, ledger: &Ledger, name: &str, input: &Value) -> Value {
        let send = name == "prepareSend";
        let amount: u128 = input["amount"].as_str().unwrap().parse().unwrap();
        let mut rest = u64::try_from(amount / u128::from(QUANTUM)).unwrap();
        let recipient = if send { self.bob_account } else { Fr::default() };
        let valid_until = u32::try_from(input["validUntil"].as_u64().unwrap()).unwrap();
        let domain = domain(31_337, &self.contract);
        let mut leaves = Vec::new();
        for &(index, low, high) in &ledger.leaves {
            if rest == 0 {
                break;
            }
            let split = high.min(low + rest - 1);
            rest -= split - low + 1;
            let leaf = leaf(&self.alice_account, &CoinRange::new(low, high).unwrap());
            let kind = if send { SignedKind::Send } else { SignedKind::Withdraw };
            let message = Message { domain, leaf, index, split, kind, valid_until, recipient };
            leaves.push(json!({
                "index": index.to_string(), "low": low.to_string(), "high": high.to_string(), "split": split.to_string(),
                "key": point(&self.alice.1), "leaf": fr_to_hex(&leaf), "message": fr_to_hex(&message.hash()),
            }));
        }
        if rest > 0 {
            let errors = &refused("INSUFFICIENT_BALANCE", false)["userErrors"];
            return json!({ "draft": null, "userErrors": errors });
        }
        let draft = json!({
            "kind": if send { "SEND" } else { "WITHDRAW" }, "sender": input["sender"], "recipient": input["recipient"],
            "recipientAccount": fr_to_hex(&recipient), "amount": input["amount"], "domain": fr_to_hex(&domain),
            "validUntil": valid_until, "recipientEntry": if send { self.bob.clone() } else { Value::Null },
            "leaves": leaves,
        });
        json!({ "draft": draft, "userErrors": [] })
    }

    fn submit(&self, name: &str, input: &Value) -> Result<Value, Reply> {
        if let Some(before) = &mut *self.before_submit.lock().unwrap()
            && let Some(reply) = before(&mut self.ledger.lock().unwrap())
        {
            return Err(reply);
        }
        let value = self.accept(&mut self.ledger.lock().unwrap(), name, input);
        if let Some(after) = &mut *self.after_submit.lock().unwrap()
            && let Some(reply) = after(&mut self.ledger.lock().unwrap())
        {
            return Err(reply);
        }
        Ok(value)
    }

    fn accept(&self, ledger: &mut Ledger, name: &str, input: &Value) -> Value {
        let key = input["idempotencyKey"].as_str().unwrap().to_owned();
        ledger.submitted.push(input.to_string());
        if let Some((known, answer)) = ledger.accepted.get(&key) {
            if known != input {
                return refused("IDEMPOTENCY_CONFLICT", false);
            }
            return json!({ "operation": answer, "userErrors": [] });
        }
        let leaves = input["leaves"].as_array().unwrap();
        let spends: Vec<[u64; 4]> = leaves
            .iter()
            .map(|leaf| ["index", "low", "high", "split"].map(|part| number(&leaf[part])))
            .collect();
        if spends.iter().any(|[index, low, high, _]| !ledger.leaves.contains(&(*index, *low, *high))) {
            return refused("LEAF_ALREADY_SPENT", false);
        }
        let answer = self.operation(ledger, name, input, &spends);
        for [index, low, high, split] in spends {
            ledger.leaves.retain(|leaf| *leaf != (index, low, high));
            if split < high {
                ledger.leaves.push((index, split + 1, high));
            }
        }
        ledger.leaves.sort_unstable();
        ledger.accepted.insert(key, (input.clone(), answer.clone()));
        json!({ "operation": answer, "userErrors": [] })
    }

    fn operation(&self, ledger: &mut Ledger, name: &str, input: &Value, spends: &[[u64; 4]]) -> Value {
        let send = name == "send";
        let id = hex(&operation_id(input, send));
        let mut promises = Vec::new();
        for [_, low, _, split] in spends {
            let index = if send { ledger.next } else { 0 };
            ledger.next += u64::from(send);
            let account = if send { self.bob_account } else { address_word(&self.alice.0) };
            promises.push(json!({
                "operationId": id, "kind": if send { 1 } else { 2 }, "batchNumber": ledger.batch,
                "index": index.to_string(), "account": fr_to_hex(&account), "low": low.to_string(),
                "high": split.to_string(), "deadline": (now() + DEADLINE).to_string(),
                "signer": hex(&self.operator.address()), "signature": "0x",
            }));
        }
        let coins: u64 = spends.iter().map(|[_, low, _, split]| split - low + 1).sum();
        let mut answer = json!({
            "id": id, "kind": if send { "SEND" } else { "WITHDRAW" }, "sender": input["sender"],
            "recipient": input["recipient"], "amount": (u128::from(coins) * u128::from(QUANTUM)).to_string(),
            "batchNumber": ledger.batch, "stage": "ACCEPTED", "timeline": [], "hit": null, "promises": promises,
        });
        sign(&mut answer, &self.operator, &self.domain());
        answer
    }
}

/// Signs the promises of an answer as they stand.
pub fn sign(answer: &mut Value, key: &OperatorKey, domain: &SigningDomain) {
    for promise in answer["promises"].as_array_mut().unwrap() {
        let Ok(range) = CoinRange::new(number(&promise["low"]), number(&promise["high"])) else { continue };
        let message = eip712::Promise {
            operation_id: bytes(&promise["operationId"]).unwrap(),
            kind: u8::try_from(promise["kind"].as_u64().unwrap()).unwrap(),
            batch_no: u32::try_from(promise["batchNumber"].as_u64().unwrap()).unwrap(),
            index: number(&promise["index"]),
            account: field(&promise["account"]),
            range,
            deadline: number(&promise["deadline"]),
        };
        promise["signature"] = json!(hex(&message.sign(domain, key)));
    }
}

/// By the code of the coordinator.
fn operation_id(input: &Value, send: bool) -> [u8; 32] {
    let spend = |leaf: &Value| SignedSpend {
        index: number(&leaf["index"]),
        low: number(&leaf["low"]),
        high: number(&leaf["high"]),
        split: number(&leaf["split"]),
        key: Point { x: field(&leaf["key"]["x"]), y: field(&leaf["key"]["y"]) },
        signature: Signature {
            r8x: field(&leaf["signature"]["r8x"]),
            r8y: field(&leaf["signature"]["r8y"]),
            s: field(&leaf["signature"]["s"]),
        },
    };
    let submit = Submit {
        idempotency_key: input["idempotencyKey"].as_str().unwrap().to_owned(),
        sender: bytes(&input["sender"]).unwrap(),
        recipient: bytes(&input["recipient"]),
        recipient_account: bytes(&input["recipientAccount"]),
        valid_until: u32::try_from(input["validUntil"].as_u64().unwrap()).unwrap(),
        spends: input["leaves"].as_array().unwrap().iter().map(spend).collect(),
    };
    assert!(submit.recipient_account.is_none_or(|account| fr_from_be_bytes(&account).is_ok()));
    submit.operation_id(if send { Kind::Send } else { Kind::Withdraw }).unwrap()
}

/// Somebody whom L1 does not list.
pub fn mallory(contract: Address) -> (OperatorKey, Holder) {
    (OperatorKey::from_hex(DEV_ACCOUNTS[9].private_key).unwrap(), holder(9, contract))
}
