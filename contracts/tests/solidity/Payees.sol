// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

interface ICollect {
    function deposit(address owner, uint256 keyHash) external payable returns (uint64);
    function withdraw(address payable to) external;
}

/// @notice Collects once and tries to collect again while it is being paid.
contract ReenteringPayee {
    ICollect public immutable target;
    /// @notice Attempts to collect again from inside the payment, and how many of them went through.
    uint256 public attempts;
    uint256 public successes;

    constructor(ICollect target_) {
        target = target_;
    }

    function collect() external {
        target.withdraw(payable(address(this)));
    }

    receive() external payable {
        attempts++;
        try target.withdraw(payable(address(this))) {
            successes++;
        } catch {}
    }
}

/// @notice Refuses every payment.
contract RevertingPayee {
    function collect(ICollect target, address payable to) external {
        target.withdraw(to);
    }

    receive() external payable {
        revert("no payments");
    }
}
