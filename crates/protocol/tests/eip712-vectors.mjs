// Writes docs/vectors/eip712.json with implementations that share no code with this repository.
// npm install viem@2 @zk-kit/eddsa-poseidon@1 && node eip712-vectors.mjs > ../../../docs/vectors/eip712.json
import { hkdfSync } from "node:crypto";
import { createRequire } from "node:module";
const { derivePublicKey } = createRequire(import.meta.url)("@zk-kit/eddsa-poseidon");
import { hashDomain, hashStruct, hashTypedData } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const R = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
const WARNING = "This signature is the key to your proofmill coins. Sign it only in a wallet or on a site you trust, and never give it to anybody.";
const types = {
  EIP712Domain: [
    { name: "name", type: "string" },
    { name: "version", type: "string" },
    { name: "chainId", type: "uint256" },
    { name: "verifyingContract", type: "address" },
  ],
  SpendKey: [
    { name: "warning", type: "string" },
    { name: "owner", type: "address" },
    { name: "keyEpoch", type: "uint32" },
  ],
  DirectoryEntry: [
    { name: "owner", type: "address" },
    { name: "ax", type: "uint256" },
    { name: "ay", type: "uint256" },
    { name: "keyEpoch", type: "uint32" },
  ],
  Promise: [
    { name: "operationId", type: "bytes32" },
    { name: "kind", type: "uint8" },
    { name: "batchNo", type: "uint32" },
    { name: "index", type: "uint64" },
    { name: "account", type: "uint256" },
    { name: "low", type: "uint64" },
    { name: "high", type: "uint64" },
    { name: "deadline", type: "uint64" },
  ],
};

const keys = ["0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318", "0x" + "00".repeat(31) + "01"];
const domains = [
  { name: "proofmill", version: "1", chainId: 31337, verifyingContract: "0x5fbdb2315678afecb367f032d93f642f64180aa3" },
  { name: "proofmill", version: "1", chainId: 2 ** 40 + 1, verifyingContract: "0xffffffffffffffffffffffffffffffffffffffff" },
];
const messages = (owner, epoch) => [
  ["SpendKey", { warning: WARNING, owner, keyEpoch: epoch }],
  ["DirectoryEntry", { owner, ax: R - 1n, ay: 123456789012345678901234567890n + BigInt(epoch), keyEpoch: epoch }],
  ["Promise", { operationId: "0x" + "a5".repeat(32), kind: 1, batchNo: 7, index: 2n ** 36n - 1n, account: R - 2n, low: 1n, high: 2n ** 63n - 1n, deadline: 1800000000n }],
  ["Promise", { operationId: "0x" + "00".repeat(32), kind: 2, batchNo: 4294967295, index: 0n, account: BigInt(owner), low: 5n, high: 5n, deadline: 0n }],
];

const vectors = [];
for (const [i, domain] of domains.entries()) {
  const account = privateKeyToAccount(keys[i]);
  for (const [primaryType, message] of messages(account.address.toLowerCase(), i === 0 ? 0 : 4294967295)) {
    const typed = { domain, types, primaryType, message };
    const signature = await account.signTypedData(typed);
    const vector = {
      chainId: domain.chainId,
      contract: domain.verifyingContract,
      separator: hashDomain({ domain, types }),
      type: primaryType,
      message,
      structHash: hashStruct({ data: message, primaryType, types }),
      digest: hashTypedData(typed),
      signer: account.address.toLowerCase(),
      signature,
    };
    if (primaryType === "SpendKey") {
      // viem gives low s; v is the last byte.
      const secret = Buffer.from(hkdfSync("sha256", Buffer.from(signature.slice(2, 130), "hex"), "", "proofmill spend key v1", 32));
      const [ax, ay] = derivePublicKey(secret);
      vector.spendKey = { secret: "0x" + secret.toString("hex"), ax, ay };
    }
    vectors.push(vector);
  }
}
const text = JSON.stringify({ warning: WARNING, keys, vectors }, (_, v) => (typeof v === "bigint" ? v.toString() : v), 2);
console.log(text);
