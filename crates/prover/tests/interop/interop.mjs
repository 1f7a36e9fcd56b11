// The side of snarkjs in the interoperability tests: `node interop.mjs STEP FOLDER`.
//
//   setup   circuit.r1cs -> a small ceremony with one contribution to each phase -> final.zkey, verification_key.json
//   begin   circuit.r1cs, ours.ptau -> of_ours.zkey: the first key, from powers of tau of ours
//   go on   circuit.r1cs, pot.ptau, begun.zkey -> final.zkey: one contribution to a first key of ours
//   prove   final.zkey, witness.wtns -> their_proof.json, their_public.json, verified
//   verify  verification_key.json, public.json, proof.json
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as snarkjs from "snarkjs";

const [step, folder] = process.argv.slice(2);
const at = (name) => join(folder, name);
const read = (name) => JSON.parse(readFileSync(at(name)));
const write = (name, value) => writeFileSync(at(name), JSON.stringify(value));
const demand = (fine, what) => {
  if (!fine) throw new Error(what);
};

const steps = {
  async setup() {
    const curve = await snarkjs.curves.getCurveFromName("bn128");
    await snarkjs.powersOfTau.newAccumulator(curve, 8, at("pot_0.ptau"));
    await snarkjs.powersOfTau.contribute(at("pot_0.ptau"), at("pot_1.ptau"), "tests", "some entropy");
    await snarkjs.powersOfTau.preparePhase2(at("pot_1.ptau"), at("pot.ptau"));
    await snarkjs.zKey.newZKey(at("circuit.r1cs"), at("pot.ptau"), at("initial.zkey"));
    await snarkjs.zKey.contribute(at("initial.zkey"), at("final.zkey"), "tests", "more entropy");
    demand(await snarkjs.zKey.verifyFromR1cs(at("circuit.r1cs"), at("pot.ptau"), at("final.zkey")), "zkey");
    write("verification_key.json", await snarkjs.zKey.exportVerificationKey(at("final.zkey")));
  },
  async begin() {
    await snarkjs.zKey.newZKey(at("circuit.r1cs"), at("ours.ptau"), at("of_ours.zkey"));
  },
  async "go on"() {
    const powers = [at("circuit.r1cs"), at("pot.ptau")];
    demand(await snarkjs.zKey.verifyFromR1cs(...powers, at("begun.zkey")), "the first key");
    await snarkjs.zKey.contribute(at("begun.zkey"), at("final.zkey"), "tests", "more entropy");
    demand(await snarkjs.zKey.verifyFromR1cs(...powers, at("final.zkey")), "the key with a contribution");
    write("verification_key.json", await snarkjs.zKey.exportVerificationKey(at("final.zkey")));
  },
  async prove() {
    const { proof, publicSignals } = await snarkjs.groth16.prove(at("final.zkey"), at("witness.wtns"));
    const key = await snarkjs.zKey.exportVerificationKey(at("final.zkey"));
    demand(await snarkjs.groth16.verify(key, publicSignals, proof), "snarkjs refuses its own proof");
    write("their_proof.json", proof);
    write("their_public.json", publicSignals);
  },
  async verify() {
    const key = read("verification_key.json");
    demand(await snarkjs.groth16.verify(key, read("public.json"), read("proof.json")), "the proof is refused");
    const others = read("public.json").map((value) => (BigInt(value) + 1n).toString());
    demand(!(await snarkjs.groth16.verify(key, others, read("proof.json"))), "a false statement is accepted");
  },
};

await steps[step]();
// Worker threads of snarkjs keep the process alive.
process.exit(0);
