// Recomputes every vector of this folder with libraries that share no code with this repository, and fails on the first
// difference.
//
//   node docs/vectors/check.mjs                          the files
//   … --example write_vectors -- random 12 7 | node docs/vectors/check.mjs -     random cases as JSON lines
import { strictEqual } from "node:assert";
import { readFileSync } from "node:fs";
import { Chain } from "./batch.mjs";
import { checkEip712 } from "./eip712.mjs";
import {
  DEPTH, P, Tree, ZEROS, account, domain, hex32, keyHash, keyOf, leafOf, messageHash, pack, packMessage, refusal, sign,
} from "./reference.mjs";

const same = (actual, expected, what) => strictEqual(typeof actual === "bigint" ? hex32(actual) : JSON.stringify(actual),
  typeof actual === "bigint" ? expected : JSON.stringify(expected), what);

/** JSON whose integers of more than 15 digits are kept as strings: a number of JavaScript would round them. */
const parse = (text) => JSON.parse(text.replace(/([[:,]\s*)(\d{16,})(?=\s*[,\]}])/g, '$1"$2"'));

let chain = new Chain();
const checks = {
  "poseidon.json": (c) => same(P(...c.inputs.map(BigInt)), c.digest, "digest"),

  "eddsa.json"(c) {
    if (c.private_key) {
      same(keyOf(c.private_key), c.public_key, "public key");
      same(sign(c.private_key, c.message), c.signature, "signature");
    }
    strictEqual(refusal(c.public_key, c.message, c.signature), c.refused, "verification");
  },

  "leaf.json"(c) {
    if (c.private_key) {
      same(keyOf(c.private_key), c.public_key, "public key");
      same(keyHash(c.public_key), c.key_hash, "key hash");
    }
    same(account(c.owner, c.key_hash), c.account, "account");
    same(pack(c.low, c.high), c.packed, "packed range");
    same(leafOf(c.account, c.low, c.high), c.leaf, "leaf");
  },

  "message.json"(c) {
    same(packMessage(c), c.packed, "packed word");
    same(messageHash(c), c.message, "message");
  },

  "domain.json": (c) => same(domain(c.chain_id, c.contract), c.domain, "domain"),

  "tree.json"(c) {
    const tree = new Tree();
    for (const { index, leaf, root } of c.insertions) {
      tree.set(BigInt(index), BigInt(leaf));
      same(tree.root(), root, `root after ${index}`);
    }
    for (const { index, digits, leaf, siblings } of c.paths) {
      same(Array.from({ length: DEPTH }, (_, level) => Number((BigInt(index) >> BigInt(2 * level)) & 3n)), digits, "digits");
      same(tree.siblings(BigInt(index)).map((row) => row.map(hex32)), siblings, "path");
      const climb = (node, row, level) => P(...row.map(BigInt).toSpliced(digits[level], 0, node));
      same(siblings.reduce(climb, BigInt(leaf)), c.insertions.at(-1).root, "root of the path");
    }
  },

  "batch_s3m1.json"(c) {
    const seen = chain.apply(c.input);
    same(seen.oldRoot, c.old_root, "oldRoot");
    same(seen.midRoot, c.mid_root, "midRoot");
    same(seen.newRoot, c.new_root, "newRoot");
    same(seen.d.map(hex32), c.d, "D");
    for (const word of ["h", "c", "e"]) same(seen[word], c[word], word);
  },
};

function run(name, number, c) {
  try {
    checks[name](c);
  } catch (error) {
    console.error(`${name}, case ${number}${c.name ? ` (${c.name})` : ""}: ${error.message}`);
    process.exit(1);
  }
}

if (process.argv[2] === "-") {
  const lines = readFileSync(0, "utf8").split("\n").filter(Boolean);
  if (lines.length === 0) throw new Error("no cases on the standard input");
  lines.map(parse).forEach((line, number) => run(line.file, number, line.case));
  console.log(`${lines.length} random cases agree`);
} else {
  const read = (name) => parse(readFileSync(new URL(name, import.meta.url), "utf8"));
  for (const name of Object.keys(checks)) {
    const { cases } = read(name);
    if (!cases?.length) throw new Error(`${name} has no cases`);
    cases.forEach((c, number) => run(name, number, c));
    console.log(`${name}: ${cases.length} cases agree`);
  }
  same(ZEROS.map(hex32), read("tree.json").zeros, "zeros");
  console.log(`eip712.json: ${checkEip712(read("eip712.json"))} cases agree`);
}
