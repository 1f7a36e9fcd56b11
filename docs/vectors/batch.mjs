// A batch replayed as sections 8 to 10 of docs/protocol-v1.md say: append, then the slots in order, then D.
import { CAPACITY, DEPTH, P, Tree, account, keyHash, leafOf, messageHash, pack, publicInputs, refusal } from "./reference.mjs";

const SHAPES = { s3m1: { number: 1n, slots: 3, mints: 1, forced: 1, subtree: 1, carried: 1 } };

function require(condition, rule) {
  if (!condition) throw new Error(`rule broken: ${rule}`);
}

const equal = (a, b) => JSON.stringify(a, (_, x) => (typeof x === "bigint" ? String(x) : x)) === JSON.stringify(b, (_, x) => (typeof x === "bigint" ? String(x) : x));
const triples = (flat) => flat.map(BigInt).reduce((rows, x, i) => (i % 3 ? rows.at(-1).push(x) : rows.push([x]), rows), []);
const ownerHex = (bytes) => "0x" + Buffer.from(bytes.map(Number)).toString("hex");

export class Chain {
  tree = new Tree();
  batchNo = 0n;
  next = 0n;

  /** Applies a batch input; returns its roots, D, h, c and e. Throws where the input breaks a rule. */
  apply(input) {
    const shape = SHAPES[input.shape];
    const places = BigInt(shape.slots + shape.mints);
    const [number, start, domain] = [BigInt(input.batch_no), BigInt(input.start), BigInt(input.domain)];
    require(number === this.batchNo + 1n, "batches are numbered without gaps");
    require(start >= this.next && start % places === 0n && start + places <= CAPACITY, "start");
    const append = this.tree.siblings(start, shape.subtree);
    require(equal(triples(input.append_siblings), append), "siblings of the appended subtree");
    const oldRoot = this.tree.root();

    const slots = Array.from({ length: shape.slots }, (_, i) => input.slots[i] ?? { input: "Noop", siblings: [] });
    slots.forEach((slot, i) => {
      const spend = slot.input.Signed;
      if (spend?.kind === "Send") this.tree.set(start + BigInt(i), leafOf(spend.recipient, spend.range[0], spend.split));
    });
    const mints = input.mints.map((mint) => [BigInt(mint.account), pack(...mint.range)]);
    require(mints.length <= shape.mints, "mint places");
    input.mints.forEach((mint, j) => this.tree.set(start + BigInt(shape.slots + j), leafOf(mint.account, ...mint.range)));
    while (mints.length < shape.mints) mints.push([0n, 0n]);
    const midRoot = this.tree.root();
    const top = DEPTH - shape.carried;
    const carried = Array.from({ length: 4 ** shape.carried }, (_, i) => this.tree.node(top, BigInt(i)));
    require(equal(input.carried_nodes.map(BigInt), carried), "carried nodes");
    for (const slot of slots.filter((slot) => slot.input !== "Noop")) {
      const { index } = slot.input.Signed ?? slot.input.Forced;
      require(equal(triples(slot.siblings), this.tree.siblings(BigInt(index), 0, top)), "siblings of a slot");
    }

    const records = slots.map((slot, i) => this.run(slot.input, { domain, number, place: start + BigInt(i), i, shape }));
    const newRoot = this.tree.root();
    this.batchNo = number;
    this.next = start + places;
    const head = [shape.number, domain, number, oldRoot, midRoot, newRoot, start];
    return { oldRoot, midRoot, newRoot, ...publicInputs(head, mints, records) };
  }

  /** Runs one slot; returns its record or undefined. */
  run(input, at) {
    if (input === "Noop") return undefined;
    const { Signed: spend, Forced: entry } = input;
    const index = BigInt((spend ?? entry).index);
    require(index < at.place, "a leaf is older than the slot's own place");
    return spend ? this.spend(spend, index, at) : this.force(entry, index, at);
  }

  spend(spend, index, { domain, number }) {
    const [low, high] = spend.range.map(BigInt);
    const split = BigInt(spend.split);
    require(1n <= low && low <= split && split <= high && high < 1n << 63n, "low <= split <= high");
    require(BigInt(spend.valid_until) >= number, "validUntil");
    const owner = ownerHex(spend.owner);
    const holder = account(owner, keyHash(spend.key));
    const leaf = leafOf(holder, low, high);
    require(this.tree.node(0, index) === leaf, "the leaf is in the tree");
    const kind = spend.kind === "Send" ? 1 : 2;
    const message = messageHash({ ...spend, domain, leaf, kind });
    const code = refusal(spend.key, message, spend.signature, false);
    require(code === undefined, code);
    this.tree.set(index, split === high ? 0n : leafOf(holder, split + 1n, high));
    if (kind === 1) return undefined;
    require(BigInt(spend.recipient) === 0n && BigInt(owner) !== 0n, "a withdrawal pays the owner");
    return [2n, BigInt(owner), pack(low, split)];
  }

  force(entry, index, { i, shape }) {
    require(i >= shape.slots - shape.forced, "forced entries stand in the last slots");
    const { held } = entry;
    const leaf = held ? leafOf(held.account, ...held.range) : 0n;
    require(this.tree.node(0, index) === leaf, "the leaf is in the tree");
    const requested = BigInt(entry.account);
    const hit = held !== null && BigInt(held.account) === requested;
    const exit = entry.kind === "Exit";
    const after = BigInt(entry.new_account);
    if (hit) this.tree.set(index, exit ? 0n : leafOf(after, ...held.range));
    const tag = (exit ? 3n : 4n) + 16n * BigInt(hit) + 256n * index;
    return [tag, requested, exit ? (hit ? pack(...held.range) : 0n) : after];
  }
}
