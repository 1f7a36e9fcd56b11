// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {BadKeyPoint, Circuit, DegenerateKey, Statement, VerifyingKey} from "./Types.sol";

/// @title Groth16 over BN254 with three public inputs (eprint 2016/260), by the precompiles of EIP-196 and EIP-197
/// @dev A key lives as the code of a data contract: 0x00, then 22 words of key and the digest. Code is the cheapest place to read
/// 22 words from, and it cannot change (there is no selfdestruct in a contract whose first byte is STOP).
library Groth16 {
    uint256 internal constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant Q = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
    uint256 private constant KEY_BYTES = 22 * 32;

    /// @notice Checks a key and writes it into a data contract.
    /// @dev Every point must be valid and not the point at infinity. G2 points must have pairwise different x: with delta = +-gamma
    /// the equation is free in C, with beta = +-gamma or beta = +-delta the known points of the key alone make a "proof".
    function store(Circuit memory circuit) internal returns (address at) {
        VerifyingKey memory key = circuit.key;
        uint32 number = circuit.number;
        if (_sameX(key.beta, key.gamma) || _sameX(key.beta, key.delta) || _sameX(key.gamma, key.delta)) {
            revert DegenerateKey(number);
        }
        if (!_validG1(key.alpha[0], key.alpha[1])) revert BadKeyPoint(number, "alpha");
        if (!_validG2(key.beta)) revert BadKeyPoint(number, "beta");
        if (!_validG2(key.gamma)) revert BadKeyPoint(number, "gamma");
        if (!_validG2(key.delta)) revert BadKeyPoint(number, "delta");
        for (uint256 i = 0; i < 8; i += 2) {
            if (!_validG1(key.ic[i], key.ic[i + 1])) revert BadKeyPoint(number, "ic");
        }
        // Creation code that returns what follows it: PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE, RETURN.
        bytes memory code = abi.encodePacked(
            hex"61", uint16(1 + KEY_BYTES + 32), hex"80600a3d393df3", hex"00", abi.encode(key), circuit.digest
        );
        assembly ("memory-safe") {
            at := create(0, add(code, 32), mload(code))
        }
        require(at != address(0));
    }

    /// @notice The key and digest stored at `at`.
    function load(address at) internal view returns (VerifyingKey memory key, bytes32 digest) {
        bytes memory data = new bytes(KEY_BYTES + 32);
        assembly ("memory-safe") {
            extcodecopy(at, add(data, 32), 1, mload(data))
        }
        (key, digest) = abi.decode(data, (VerifyingKey, bytes32));
    }

    /// @notice Whether e(A, B) = e(alpha, beta) e(ic0 + h ic1 + c ic2 + e ic3, gamma) e(C, delta).
    /// @dev Inputs must be below R. A coordinate of Q or more and a point off the curve or outside the subgroup make a precompile
    /// fail: the answer is false.
    function verify(address at, uint256[8] calldata proof, uint256 h, uint256 c, uint256 e) internal view returns (bool ok) {
        assembly ("memory-safe") {
            // 0x300 bytes for four pairs, 0x2c0 for the key (alpha, beta 0x40, gamma 0xc0, delta 0x140, ic 0x1c0), 0xa0 of scratch.
            let pairs := mload(0x40)
            let key := add(pairs, 0x300)
            let sum := add(key, 0x2c0)
            extcodecopy(at, key, 1, 0x2c0)

            // sum = ic0 + h ic1 + c ic2 + e ic3
            function accumulate(total, point, scalar) -> fine {
                mcopy(add(total, 0x40), point, 0x40)
                mstore(add(total, 0x80), scalar)
                fine := staticcall(gas(), 7, add(total, 0x40), 0x60, add(total, 0x40), 0x40)
                fine := and(staticcall(gas(), 6, total, 0x80, total, 0x40), fine)
            }
            mcopy(sum, add(key, 0x1c0), 0x40)
            ok := accumulate(sum, add(key, 0x200), h)
            ok := and(accumulate(sum, add(key, 0x240), c), ok)
            ok := and(accumulate(sum, add(key, 0x280), e), ok)

            // (-A, B), (alpha, beta), (sum, gamma), (C, delta)
            calldatacopy(pairs, proof, 0xc0)
            let y := mload(add(pairs, 0x20))
            ok := and(ok, lt(y, Q))
            mstore(add(pairs, 0x20), mod(sub(Q, y), Q))
            mcopy(add(pairs, 0xc0), key, 0xc0)
            mcopy(add(pairs, 0x180), sum, 0x40)
            mcopy(add(pairs, 0x1c0), add(key, 0xc0), 0x80)
            calldatacopy(add(pairs, 0x240), add(proof, 0xc0), 0x40)
            mcopy(add(pairs, 0x280), add(key, 0x140), 0x80)
            ok := and(staticcall(gas(), 8, pairs, 0x300, pairs, 0x20), ok)
            ok := and(eq(mload(pairs), 1), ok)
        }
    }

    /// @notice Whether all statements have valid proofs: a failing group's first statement and its size, or size 0 if all hold.
    /// @dev For the k proofs of one key, with coefficients r[0] = 1 and r[i] in 1..=2^128 from a hash of every key, statement and
    /// proof of the call: prod e(r[i] A[i], B[i]) = e(s alpha, beta) e(sum r[i] ic(x[i]), gamma) e(sum r[i] C[i], delta), s = sum r[i].
    /// If one equation fails, at most one value in 2^128 of its coefficient lets the product hold (the first one's failing alone
    /// makes it fail for sure), and none can be chosen after the coefficients. Key addresses become 0 as their groups are done.
    function verifyAll(Statement[] memory statements, uint256[8][] calldata proofs)
        internal
        view
        returns (uint256 first, uint256 size)
    {
        uint256 seed = _transcript(statements, proofs);
        for (first = 0; first < statements.length; first++) {
            Statement memory head = statements[first];
            if (head.key == address(0)) continue;
            size = 0;
            for (uint256 i = first; i < statements.length; i++) {
                if (statements[i].key == head.key) size++;
            }
            bool ok = size == 1
                ? verify(head.key, proofs[first], head.h, head.c, head.e)
                : _verifyGroup(statements, proofs, first, size, seed);
            if (!ok) return (first, size);
        }
        return (0, 0);
    }

    /// @dev keccak256 over (hash of the key's code, h, c, e, proof) of each statement.
    function _transcript(Statement[] memory statements, uint256[8][] calldata proofs) private view returns (uint256 seed) {
        uint256[] memory words = new uint256[](12 * statements.length);
        for (uint256 i = 0; i < statements.length; i++) {
            Statement memory statement = statements[i];
            uint256[8] calldata proof = proofs[i];
            assembly ("memory-safe") {
                let to := add(add(words, 32), mul(i, 0x180))
                mstore(to, extcodehash(mload(statement)))
                mcopy(add(to, 0x20), add(statement, 0x20), 0x60)
                calldatacopy(add(to, 0x80), proof, 0x100)
            }
        }
        assembly ("memory-safe") {
            seed := keccak256(add(words, 32), shl(5, mload(words)))
        }
    }

    function _verifyGroup(
        Statement[] memory statements,
        uint256[8][] calldata proofs,
        uint256 first,
        uint256 size,
        uint256 seed
    ) private view returns (bool ok) {
        address at = statements[first].key;
        // The pairs of the proofs, then those of beta, gamma and delta; the sum of C grows in its place.
        uint256[] memory pairs = new uint256[](6 * (size + 3));
        uint256[4] memory scalars;
        uint256 place = 0;
        for (uint256 i = first; i < statements.length; i++) {
            Statement memory statement = statements[i];
            if (statement.key != at) continue;
            statement.key = address(0);
            uint256 r = place == 0 ? 1 : (uint256(keccak256(abi.encode(seed, i))) >> 128) + 1;
            scalars[0] = addmod(scalars[0], r, R);
            scalars[1] = addmod(scalars[1], mulmod(r, statement.h, R), R);
            scalars[2] = addmod(scalars[2], mulmod(r, statement.c, R), R);
            scalars[3] = addmod(scalars[3], mulmod(r, statement.e, R), R);
            if (!_addProof(pairs, place++, size, proofs[i], r)) return false;
        }
        return _closeGroup(pairs, size, at, scalars);
    }

    /// @dev Lays (r A, B) and adds r C. A precompile refuses coordinates of Q or more and points off the curve.
    function _addProof(uint256[] memory pairs, uint256 place, uint256 size, uint256[8] calldata proof, uint256 r)
        private
        view
        returns (bool ok)
    {
        assembly ("memory-safe") {
            let pair := add(add(pairs, 32), mul(place, 0xc0))
            let sum := add(add(pairs, 32), mul(add(size, 2), 0xc0))
            let scratch := mload(0x40)
            calldatacopy(pair, proof, 0xc0)
            mcopy(scratch, pair, 0x40)
            mstore(add(scratch, 0x40), r)
            ok := staticcall(gas(), 7, scratch, 0x60, pair, 0x40)
            if ok {
                calldatacopy(scratch, add(proof, 0xc0), 0x40)
                ok := staticcall(gas(), 7, scratch, 0x60, scratch, 0x40)
            }
            if ok {
                mcopy(add(scratch, 0x40), sum, 0x40)
                ok := staticcall(gas(), 6, scratch, 0x80, sum, 0x40)
            }
        }
    }

    /// @dev Lays the pairs of the key, their G1 points negated, and pairs all.
    function _closeGroup(uint256[] memory pairs, uint256 size, address at, uint256[4] memory scalars)
        private
        view
        returns (bool ok)
    {
        assembly ("memory-safe") {
            // -scalar * point, by the order of the group; every word of `scalars` is below it.
            function negated(to, point, scalar) -> fine {
                mcopy(to, point, 0x40)
                mstore(add(to, 0x40), sub(R, scalar))
                fine := staticcall(gas(), 7, to, 0x60, to, 0x40)
            }
            let first := add(pairs, 32)
            let last := add(first, mul(size, 0xc0))
            let key := mload(0x40)
            let scratch := add(key, 0x2c0)
            extcodecopy(at, key, 1, 0x2c0)

            ok := negated(scratch, key, mload(scalars))
            mcopy(last, scratch, 0x40)
            mcopy(add(last, 0x40), add(key, 0x40), 0x80)

            ok := and(negated(scratch, add(key, 0x1c0), mload(scalars)), ok)
            for { let i := 1 } lt(i, 4) { i := add(i, 1) } {
                let point := add(add(key, 0x1c0), shl(6, i))
                ok := and(negated(add(scratch, 0x40), point, mload(add(scalars, shl(5, i)))), ok)
                ok := and(staticcall(gas(), 6, scratch, 0x80, scratch, 0x40), ok)
            }
            mcopy(add(last, 0xc0), scratch, 0x40)
            mcopy(add(last, 0x100), add(key, 0xc0), 0x80)

            // The sum of C comes from a precompile, so that its y is below Q.
            let y := mload(add(last, 0x1a0))
            mstore(add(last, 0x1a0), mod(sub(Q, y), Q))
            mcopy(add(last, 0x1c0), add(key, 0x140), 0x80)

            let length := mul(add(size, 3), 0xc0)
            ok := and(staticcall(gas(), 8, first, length, scratch, 0x20), ok)
            ok := and(eq(mload(scratch), 1), ok)
        }
    }

    function _sameX(uint256[4] memory a, uint256[4] memory b) private pure returns (bool) {
        return a[0] == b[0] && a[1] == b[1];
    }

    function _validG1(uint256 x, uint256 y) private view returns (bool ok) {
        if (x == 0 && y == 0) return false;
        uint256[4] memory points = [x, y, 0, 0];
        assembly ("memory-safe") {
            ok := staticcall(gas(), 6, points, 0x80, points, 0x40)
        }
    }

    /// @dev The pairing precompile checks curve and subgroup of a G2 point also when its partner is the point at infinity.
    function _validG2(uint256[4] memory point) private view returns (bool ok) {
        if (point[0] | point[1] | point[2] | point[3] == 0) return false;
        uint256[6] memory pair = [0, 0, point[0], point[1], point[2], point[3]];
        assembly ("memory-safe") {
            ok := staticcall(gas(), 8, pair, 0xc0, pair, 0x20)
        }
    }
}
