// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {BadKeyPoint, Circuit, DegenerateKey, VerifyingKey} from "./Types.sol";

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
