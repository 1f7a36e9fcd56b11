// Writes poseidon.json and eddsa.json with circomlibjs and zk-kit: `node oracle.mjs`. Deterministic.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { P, R, SUB_ORDER, hex32, keyOf, keyRelatedToStart, refusal, sign } from "./reference.mjs";

const random = (label) => BigInt("0x" + createHash("sha512").update(`proofmill vectors ${label}`).digest("hex")) % R;
const secretOf = (label) => "0x" + createHash("sha256").update(`proofmill vectors ${label}`).digest("hex");
const write = (name, about, cases) =>
  writeFileSync(new URL(name, import.meta.url), JSON.stringify({ about, cases }, null, 2) + "\n");

const poseidon = [2, 4, 5, 12].flatMap((n) => {
  const rows = [Array(n).fill(0n), Array.from({ length: n }, (_, i) => BigInt(i + 1)), Array(n).fill(R - 1n)];
  for (let k = 0; k < 3; k++) rows.push(Array.from({ length: n }, (_, i) => random(`poseidon ${n} ${k} ${i}`)));
  return rows.map((inputs) => ({ inputs: inputs.map(hex32), digest: hex32(P(...inputs)) }));
});
write("poseidon.json", "Poseidon with 2, 4, 5 and 12 inputs, from circomlibjs", poseidon);

const secrets = ["0x" + "00".repeat(32), "0x" + "ff".repeat(32), "0x" + "01".repeat(32), secretOf("a"), secretOf("b")];
const messages = [0n, 1n, R - 1n, SUB_ORDER, random("message")];
const good = secrets.flatMap((private_key) =>
  messages.map((m) => ({ private_key, message: hex32(m), public_key: keyOf(private_key), signature: sign(private_key, m) })),
);

const base = good.at(-1);
const { message, public_key, signature } = base;
const off = { x: hex32(1n), y: hex32(1n) };
const raised = (s) => ({ ...signature, s: hex32(s) });
const refused = [
  { message, signature, public_key: off },
  { message, signature, public_key: { x: hex32(0n), y: hex32(1n) } },
  { message, signature, public_key: { x: hex32(0n), y: hex32(R - 1n) } },
  { message, public_key, signature: { ...signature, r8: off } },
  { message, public_key, signature: raised(SUB_ORDER) },
  { message, public_key, signature: raised(BigInt(signature.s) + SUB_ORDER) },
  { message, public_key, signature: raised(BigInt(signature.s) ^ 1n) },
  { message: hex32(1n), public_key, signature },
  { message, public_key: good[0].public_key, signature },
  { message, ...keyRelatedToStart(message) },
].map((c) => ({ ...c, refused: refusal(c.public_key, c.message, c.signature) }));
write("eddsa.json", "EdDSA-Poseidon keys and signatures from zk-kit, and what the protocol refuses with which code", [...good, ...refused]);
