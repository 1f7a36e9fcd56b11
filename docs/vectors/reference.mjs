// The rules of docs/protocol-v1.md once more, over libraries that share no code with this repository: circomlibjs
// (Poseidon), zk-kit (Baby Jubjub, EdDSA), noble (Keccak, HKDF). For the checks in this folder; slow and plain.
import { createRequire } from "node:module";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { buildPoseidon } from "circomlibjs";

const require = createRequire(import.meta.url);
const { Base8, addPoint, inCurve, mulPointEscalar, subOrder } = require("@zk-kit/baby-jubjub");
const { derivePublicKey, signMessage, verifySignature } = require("@zk-kit/eddsa-poseidon");

export const R = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
export const DEPTH = 18;
export const CAPACITY = 1n << 36n;

// ---------------------------------------------------------------------------------------------------------- encodings
export const hex32 = (x) => "0x" + x.toString(16).padStart(64, "0");
const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex.slice(2), "hex"));
const point = ({ x, y }) => [BigInt(x), BigInt(y)];
const pointJson = ([x, y]) => ({ x: hex32(x), y: hex32(y) });
const keccak = (...words) => BigInt("0x" + Buffer.from(keccak_256(bytesOf("0x" + words.map((w) => hex32(w).slice(2)).join("")))).toString("hex"));
export const keccakText = (text) => BigInt("0x" + Buffer.from(keccak_256(Buffer.from(text))).toString("hex"));

// ----------------------------------------------------------------------------------------------------------- Poseidon
const wasm = await buildPoseidon();
/** P2, P4, P5, P12 by the number of arguments. */
export const P = (...inputs) => wasm.F.toObject(wasm(inputs));

// -------------------------------------------------------------------------------------------------- keys and signatures
export const keyOf = (secret) => pointJson(derivePublicKey(bytesOf(secret)));

export function sign(secret, message) {
  const { R8, S } = signMessage(bytesOf(secret), BigInt(message));
  return { r8: pointJson(R8), s: hex32(S) };
}

const negative = ([x, y]) => [(R - x) % R, y];
const same = (p, q) => p[0] === q[0] && p[1] === q[1];
const IDENTITY = [0n, 1n];
/** T0, where the circuit's ladder starts. */
const START_SCALAR = 4142135623730950488016887242096980785696718753769480731766797379907324784n;
const START = mulPointEscalar(Base8, START_SCALAR);

/** Whether a step of the circuit's ladder would add a point to plus or minus itself, or meets the identity. */
function meetsItself(key8, h) {
  let acc = addPoint(START, key8);
  for (let i = 253n; i >= 1n; i--) {
    if (acc[1] === key8[1] || acc[0] === 0n) return true;
    acc = addPoint(acc, acc);
    acc = addPoint(acc, (h >> i) & 1n ? key8 : negative(key8));
  }
  return acc[0] === 0n;
}

/** The code of the first rule that a signature breaks, undefined if it is good. */
export function refusal(key, message, signature, ladder = true) {
  const [A, R8, S, M] = [point(key), point(signature.r8), BigInt(signature.s), BigInt(message)];
  if (!inCurve(A)) return "PM-EDDSA-001";
  const key8 = mulPointEscalar(A, 8n);
  if (same(key8, IDENTITY)) return "PM-EDDSA-002";
  if (!inCurve(R8)) return "PM-EDDSA-003";
  if (S >= subOrder) return "PM-EDDSA-004";
  if (ladder && meetsItself(key8, P(...R8, ...A, M))) return "PM-EDDSA-006";
  return verifySignature(M, { R8, S }, A) ? undefined : "PM-EDDSA-005";
}

/** A key with a discrete logarithm that everybody knows, related to T0, and its valid signature over `message`. */
export function keyRelatedToStart(message) {
  const inverse8 = power(8n, subOrder - 2n, subOrder);
  const secret = ((subOrder - START_SCALAR) * inverse8) % subOrder; // 8A = -T0
  const [A, nonce] = [mulPointEscalar(Base8, secret), 12345n];
  const R8 = mulPointEscalar(Base8, nonce);
  const S = (nonce + P(...R8, ...A, BigInt(message)) * 8n * secret) % subOrder;
  return { public_key: pointJson(A), signature: { r8: pointJson(R8), s: hex32(S) } };
}

function power(base, exponent, modulus) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n, base = (base * base) % modulus) {
    if (exponent & 1n) result = (result * base) % modulus;
  }
  return result;
}

export const SUB_ORDER = subOrder;

// ------------------------------------------------------------------------------------------------ leaves and messages
export const pack = (low, high) => (BigInt(low) << 64n) + BigInt(high);
export const keyHash = (key) => P(...point(key));
export const account = (owner, hash) => P(BigInt(owner), BigInt(hash));
export const leafOf = (holder, low, high) => P(BigInt(holder), pack(low, high));
export const packMessage = (m) =>
  BigInt(m.index) + (BigInt(m.split) << 36n) + (BigInt(m.kind) << 100n) + (BigInt(m.valid_until) << 104n);
export const messageHash = (m) => P(BigInt(m.domain), BigInt(m.leaf), packMessage(m), BigInt(m.recipient));

export function domain(chainId, contract) {
  const word = keccak(keccakText("proofmill.domain.v1"), BigInt(chainId), BigInt(contract)) % R;
  return word === 0n ? 1n : word;
}

// --------------------------------------------------------------------------------------------------------------- tree
export const ZEROS = [0n];
for (let level = 0; level < DEPTH; level++) ZEROS.push(P(ZEROS[level], ZEROS[level], ZEROS[level], ZEROS[level]));

export class Tree {
  nodes = new Map();

  node(level, index) {
    return this.nodes.get(`${level}/${index}`) ?? ZEROS[level];
  }

  root() {
    return this.node(DEPTH, 0n);
  }

  set(index, leaf) {
    this.nodes.set(`0/${index}`, leaf);
    for (let level = 0; level < DEPTH; level++) {
      index >>= 2n;
      const children = [0n, 1n, 2n, 3n].map((i) => this.node(level, index * 4n + i));
      this.nodes.set(`${level + 1}/${index}`, P(...children));
    }
  }

  /** Three siblings for each level of `from..to` above leaf `index`. */
  siblings(index, from = 0, to = DEPTH) {
    const levels = [];
    for (let level = from; level < to; level++) {
      const own = index >> BigInt(2 * level);
      const children = [0n, 1n, 2n, 3n].map((i) => own - (own & 3n) + i);
      levels.push(children.filter((i) => i !== own).map((i) => this.node(level, i)));
    }
    return levels;
  }
}

// -------------------------------------------------------------------------------------------------------- public data
/** h over the padded words; c and e over D. `records` has N entries, undefined where a slot shows nothing. */
export function publicInputs(head, mints, records) {
  const fixed = [...head, ...mints.flat()];
  const d = [...fixed, ...records.filter(Boolean).flat()];
  const padded = [...fixed, ...records.flatMap((record) => record ?? [0n, 0n, 0n])];
  while (padded.length % 11) padded.push(0n);
  let h = 0n;
  for (let i = 0; i < padded.length; i += 11) h = P(h, ...padded.slice(i, i + 11));
  const c = keccak(h, ...d) % R;
  let [e, power] = [0n, 1n];
  for (const word of d) [e, power] = [(e + word * power) % R, (power * c) % R];
  return { d, h, c, e };
}
