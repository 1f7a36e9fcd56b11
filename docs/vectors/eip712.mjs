// EIP-712 by hand: separator, struct hash, digest, and the spend key that a wallet derives from its signature.
import { strictEqual } from "node:assert";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { hex32, keyOf } from "./reference.mjs";

const TYPES = {
  SpendKey: "SpendKey(string warning,address owner,uint32 keyEpoch)",
  DirectoryEntry: "DirectoryEntry(address owner,uint256 ax,uint256 ay,uint32 keyEpoch)",
  Promise:
    "Promise(bytes32 operationId,uint8 kind,uint32 batchNo,uint64 index,uint256 account,uint64 low,uint64 high,uint64 deadline)",
};
const DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

const keccak = (bytes) => Buffer.from(keccak_256(bytes));
const text = (string) => keccak(Buffer.from(string));
const word = (number) => Buffer.from(hex32(BigInt(number)).slice(2), "hex");
const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");

/** Checks all vectors and returns how many there are. */
export function checkEip712({ vectors }) {
  for (const vector of vectors) {
    const { message, chainId, contract } = vector;
    const separator = keccak(
      Buffer.concat([text(DOMAIN), text("proofmill"), text("1"), word(chainId), word(contract)]),
    );
    const type = TYPES[vector.type];
    const fields = type.slice(type.indexOf("(") + 1, -1).split(",").map((field) => field.split(" "));
    const values = fields.map(([kind, name]) => (kind === "string" ? text(message[name]) : word(message[name])));
    const structHash = keccak(Buffer.concat([text(type), ...values]));
    strictEqual(hex(separator), vector.separator);
    strictEqual(hex(structHash), vector.structHash);
    strictEqual(hex(keccak(Buffer.concat([Buffer.from([0x19, 0x01]), separator, structHash]))), vector.digest);
    if (vector.spendKey) {
      const rs = Buffer.from(vector.signature.slice(2, 130), "hex");
      const secret = hex(hkdf(sha256, rs, undefined, Buffer.from("proofmill spend key v1"), 32));
      strictEqual(secret, vector.spendKey.secret);
      const key = keyOf(secret);
      strictEqual(String(BigInt(key.x)), vector.spendKey.ax);
      strictEqual(String(BigInt(key.y)), vector.spendKey.ay);
    }
  }
  return vectors.length;
}
