// Compiles solidity/ with the pinned npm solc into abi/*.json ({abi, bytecode, deployedBytecode, immutables}): `immutables` lists, for
// each immutable, the offsets in deployedBytecode at which its word stands.
//   node build.mjs           writes the generated Solidity and abi/
//   node build.mjs --check   writes nothing; fails when a committed file differs from what the sources give
// SPDX-License-Identifier: MIT OR Apache-2.0
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { emptyRoot, selfCheck, solidity } from './poseidon.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes('--check');
const stale = [];

function emit(path, text) {
  const file = join(here, path);
  const current = existsSync(file) ? readFileSync(file, 'utf8') : null;
  if (current === text) return;
  if (check) return void stale.push(path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`wrote ${path}`);
}

function sources(folder) {
  return readdirSync(join(here, folder))
    .filter((name) => name.endsWith('.sol'))
    .sort()
    .map((name) => `${folder}/${name}`);
}

selfCheck();
emit('solidity/PoseidonT3.sol', solidity());
const z18 = emptyRoot(18);
if (!readFileSync(join(here, 'solidity/ProofmillState.sol'), 'utf8').includes(`EMPTY_ROOT = ${z18};`)) {
  throw new Error(`EMPTY_ROOT in solidity/ProofmillState.sol must be ${z18}`);
}

const require = createRequire(import.meta.url);
let solc;
try {
  solc = require('solc');
} catch {
  console.error('The compiler is not installed: run `npm ci --prefix contracts` first.');
  process.exit(2);
}

const input = {
  language: 'Solidity',
  sources: Object.fromEntries(
    [...sources('solidity'), ...sources('tests/solidity')].map((path) => [
      path,
      { content: readFileSync(join(here, path), 'utf8') },
    ]),
  ),
  settings: {
    optimizer: { enabled: true, runs: 100000 },
    viaIR: true,
    evmVersion: 'cancun',
    metadata: { appendCBOR: false, bytecodeHash: 'none' },
    outputSelection: {
      '*': {
        '*': [
          'abi',
          'evm.bytecode.object',
          'evm.deployedBytecode.object',
          'evm.deployedBytecode.immutableReferences',
        ],
      },
    },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const problems = output.errors ?? [];
problems.forEach((problem) => console.error(problem.formattedMessage));
if (problems.length > 0) process.exit(1);

const wanted = {
  'solidity/Proofmill.sol': ['Proofmill'],
  'solidity/PoseidonT3.sol': ['PoseidonT3'],
  'tests/solidity/Payees.sol': ['ReenteringPayee', 'RevertingPayee'],
};
for (const [path, names] of Object.entries(wanted)) {
  for (const name of names) {
    const { abi, evm } = output.contracts[path][name];
    const size = evm.deployedBytecode.object.length / 2;
    if (size > 24576) throw new Error(`${name} has ${size} bytes of code; EIP-170 allows 24576`);
    const folder = path.startsWith('tests/') ? 'tests/abi' : 'abi';
    const entries = abi.map((entry) => '    ' + JSON.stringify(entry)).join(',\n');
    const immutables = Object.values(evm.deployedBytecode.immutableReferences ?? {}).map((places) =>
      places.map((place) => place.start),
    );
    // What is deployed only in tests is compared with nothing.
    const deployed = path.startsWith('tests/')
      ? ''
      : `,\n  "deployedBytecode": "0x${evm.deployedBytecode.object}",\n  "immutables": ${JSON.stringify(immutables)}`;
    emit(
      `${folder}/${name}.json`,
      `{\n  "contractName": "${name}",\n  "abi": [\n${entries}\n  ],\n  "bytecode": "0x${evm.bytecode.object}"${deployed}\n}\n`,
    );
    console.log(`${name}: ${size} bytes`);
  }
}
if (stale.length > 0) {
  console.error(`Out of date: ${stale.join(', ')}. Run \`npm run build --prefix contracts\` and commit the result.`);
  process.exit(1);
}
