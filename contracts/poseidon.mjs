// Writes solidity/PoseidonT3.sol and prints the root of the empty tree.
//
// The round constants and the MDS matrix come from the Grain LFSR of the Poseidon paper (eprint 2019/458, appendix F), with
// the parameters circomlib uses: field of 254 bits, x^5, 8 full rounds, 57 (t = 3) or 60 (t = 5) partial rounds.
// SPDX-License-Identifier: MIT OR Apache-2.0

export const R = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
const FULL = 8;

const mod = (x) => ((x % R) + R) % R;
const pow = (x, e) => {
  let acc = 1n;
  for (; e > 0n; e >>= 1n, x = (x * x) % R) if (e & 1n) acc = (acc * x) % R;
  return acc;
};
const inv = (x) => pow(mod(x), R - 2n);

/** The self-shrinking Grain generator: 80 bits of state, seeded with the parameters, the first 160 bits thrown away. */
function* grain(t, partial) {
  const word = (value, bits) => [...value.toString(2).padStart(bits, '0')].map(Number);
  const state = [
    ...word(1, 2), ...word(0, 4), ...word(254, 12), ...word(t, 12), ...word(FULL, 10), ...word(partial, 10),
    ...Array(30).fill(1),
  ];
  const step = () => {
    const bit = state[62] ^ state[51] ^ state[38] ^ state[23] ^ state[13] ^ state[0];
    state.shift();
    state.push(bit);
    return bit;
  };
  for (let i = 0; i < 160; i++) step();
  for (;;) {
    const keep = step();
    const bit = step();
    if (keep) yield bit;
  }
}

export function parameters(t, partial) {
  const bits = grain(t, partial);
  const draw = () => {
    let x = 0n;
    for (let i = 0; i < 254; i++) x = (x << 1n) | BigInt(bits.next().value);
    return x;
  };
  const constants = [];
  while (constants.length < t * (FULL + partial)) {
    const x = draw();
    if (x < R) constants.push(x);
  }
  let points;
  do points = Array.from({ length: 2 * t }, () => mod(draw()));
  while (new Set(points).size < 2 * t);
  const mds = Array.from({ length: t }, (_, i) => Array.from({ length: t }, (_, j) => inv(points[i] + points[t + j])));
  return { t, partial, constants, mds };
}

const apply = (m, v) => m.map((row) => mod(row.reduce((sum, a, j) => sum + a * v[j], 0n)));

/** The plain permutation, as the paper writes it. */
export function poseidon(p, inputs) {
  let state = [0n, ...inputs];
  for (let round = 0; round < FULL + p.partial; round++) {
    state = state.map((x, i) => mod(x + p.constants[round * p.t + i]));
    const full = round < FULL / 2 || round >= FULL / 2 + p.partial;
    state = state.map((x, i) => (full || i === 0 ? pow(x, 5n) : x));
    state = apply(p.mds, state);
  }
  return state[0];
}

/**
 * The 57 partial rounds as a linear recurrence of order two.
 *
 * Between two S-boxes the lanes 1 and 2 evolve linearly, by the same 2x2 matrix A (the lower right of the MDS matrix) in every
 * round, and reach lane 0 through the row v. By Cayley-Hamilton A^2 = p A + q, so instead of the lanes we carry what they add to
 * lane 0 now (u1 = v t) and later (u2 = v A t - p u1). With x the output of the S-box, one round is
 *   s' = b0 x + u1,   u1' = b1 x + p s' + u2,   u2' = b2 x + q s'
 * with five constants that are the same in every round: 5 multiplications instead of 9, and short code. Round constants of the
 * lanes 1 and 2 are pushed forward through the MDS matrix until only lane 0 has one (k).
 */
export function recurrence(p3) {
  const [[m00, ...v], [w1, ...a1], [w2, ...a2]] = p3.mds;
  const a = [a1, a2];
  const w = [w1, w2];
  const dot = (x, y) => mod(x[0] * y[0] + x[1] * y[1]);
  const row = (x, m) => [0, 1].map((j) => mod(x[0] * m[0][j] + x[1] * m[1][j]));
  const p = mod(a[0][0] + a[1][1]);
  const q = mod(a[0][1] * a[1][0] - a[0][0] * a[1][1]);
  const va = row(v, a);
  const b0 = m00;
  const b1 = mod(dot(v, w) - p * b0);
  const b2 = mod(dot(va, w) - p * dot(v, w) - q * b0);
  // (u1, u2) = e (t1, t2)
  const e = [v, [0, 1].map((j) => mod(va[j] - p * v[j]))];
  const det = inv(e[0][0] * e[1][1] - e[0][1] * e[1][0]);
  const back = [
    [mod(e[1][1] * det), mod(-e[0][1] * det)],
    [mod(-e[1][0] * det), mod(e[0][0] * det)],
  ];
  // The last mix before the partial rounds leaves (s, u1, u2) at once.
  const enter = [
    p3.mds[0],
    ...e.map((coefficients) => [0, 1, 2].map((j) => mod(coefficients[0] * p3.mds[1][j] + coefficients[1] * p3.mds[2][j]))),
  ];
  const k = [];
  let carried = [0n, 0n, 0n];
  for (let round = 0; round < p3.partial; round++) {
    const at = 3 * (FULL / 2 + round);
    carried = carried.map((x, i) => mod(x + p3.constants[at + i]));
    k.push(carried[0]);
    carried = apply(p3.mds, [0n, carried[1], carried[2]]);
  }
  return { p, q, b0, b1, b2, back, enter, k, carried };
}

const hex = (x) => '0x' + x.toString(16).padStart(64, '0');

export function solidity() {
  const p3 = parameters(3, 57);
  const f = recurrence(p3);
  const lines = [];
  const boxes = (lanes, sums) =>
    lanes.forEach((lane, i) => {
      lines.push(`x := ${sums[i]}`, `y := mulmod(x, x, r)`, `${lane} := mulmod(mulmod(y, y, r), x, r)`);
    });
  const mix = (m, rows = 3) => {
    const term = (i, j) => `mulmod(s${j}, ${hex(m[i][j])}, r)`;
    const sum = (i) => `add(add(${term(i, 0)}, ${term(i, 1)}), ${term(i, 2)})`;
    if (rows === 1) return lines.push(`s0 := addmod(add(${term(0, 0)}, ${term(0, 1)}), ${term(0, 2)}, r)`);
    lines.push(`x := ${sum(0)}`, `y := ${sum(1)}`, `s2 := ${sum(2)}`, `s0 := x`, `s1 := y`);
  };
  const full = (constants, m, rows, first) => {
    boxes(
      ['s0', 's1', 's2'],
      [0, 1, 2].map((i) => (first && i === 0 ? hex(constants[0]) : `add(s${i}, ${hex(constants[i])})`)),
    );
    mix(m, rows);
  };
  const at = (round) => p3.constants.slice(3 * round, 3 * round + 3);
  for (let round = 0; round < 4; round++) {
    lines.push(`// full round ${round}`);
    full(at(round), round === 3 ? f.enter : p3.mds, 3, round === 0);
  }
  // s1 must be below 3r and s2 below r inside the recurrence: one reduction each here.
  lines.push('s2 := mod(s2, r)', '// partial rounds: their constants, then three rounds a turn', 'let k := mload(0x40)');
  f.k.forEach((k, i) => lines.push(`mstore(add(k, ${32 * i}), ${hex(k)})`));
  const UNROLL = 3;
  lines.push(`for { let end := add(k, ${32 * f.k.length}) } lt(k, end) { k := add(k, ${32 * UNROLL}) } {`);
  for (let i = 0; i < UNROLL; i++) {
    lines.push(
      `    x := add(s0, mload(${i === 0 ? 'k' : `add(k, ${32 * i})`}))`,
      '    y := mulmod(x, x, r)',
      '    x := mulmod(mulmod(y, y, r), x, r)',
      `    s0 := add(mulmod(x, ${hex(f.b0)}, r), s1)`,
      `    s1 := add(add(mulmod(x, ${hex(f.b1)}, r), mulmod(s0, ${hex(f.p)}, r)), s2)`,
      `    s2 := addmod(mulmod(x, ${hex(f.b2)}, r), mulmod(s0, ${hex(f.q)}, r), r)`,
    );
  }
  lines.push('}');
  lines.push(
    '// back to the lanes',
    `x := add(mulmod(s1, ${hex(f.back[0][0])}, r), mulmod(s2, ${hex(f.back[0][1])}, r))`,
    `s2 := add(mulmod(s1, ${hex(f.back[1][0])}, r), mulmod(s2, ${hex(f.back[1][1])}, r))`,
    's1 := x',
  );
  for (let round = 61; round < 65; round++) {
    lines.push(`// full round ${round - 57}`);
    const constants = at(round);
    full(round === 61 ? constants.map((c, i) => mod(c + f.carried[i])) : constants, p3.mds, round === 64 ? 1 : 3, false);
  }
  return `// SPDX-License-Identifier: MIT OR Apache-2.0
// Generated by contracts/poseidon.mjs: edit that file and run \`npm run build --prefix contracts\`.
pragma solidity 0.8.30;

/// @title Poseidon of two words over the scalar field of BN254, with circomlib's parameters (t = 3, 8 full and 57 partial rounds)
/// @dev poseidon.mjs derives the form used here: the partial rounds are a linear recurrence of order two with constant
/// factors. r is below 2^256 / 5.29, so up to five words below r are added without a reduction; the bounds are s0 < 4r,
/// s1 < 3r, s2 < r in the partial rounds and 3r in every lane after a mix.
contract PoseidonT3 {
    /// @notice P2(left, right).
    /// @dev Words of r and more would alias smaller ones: the caller checks them.
    function hash(uint256 left, uint256 right) external pure returns (uint256 s0) {
        assembly ("memory-safe") {
            let r := ${R}
            let s1 := left
            let s2 := right
            let x
            let y
${lines.map((line) => ' '.repeat(12) + line).join('\n')}
        }
    }
}
`;
}

/** Root of the empty tree of the given depth: Z0 = 0, Z(k+1) = P4(Zk, Zk, Zk, Zk). */
export function emptyRoot(depth) {
  const p5 = parameters(5, 60);
  let z = 0n;
  for (let level = 0; level < depth; level++) z = poseidon(p5, [z, z, z, z]);
  return z;
}

export function selfCheck() {
  const known = 7853200120776062878684798364095072458815029376092732009249414926327459813530n;
  if (poseidon(parameters(3, 57), [1n, 2n]) !== known) throw new Error('P2(1, 2) is wrong: the generator is broken');
}
