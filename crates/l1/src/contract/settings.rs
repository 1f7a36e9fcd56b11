//! The settings of the contract in words: what each decides, its bounds, and why the recommended value is recommended.
//!
//! Invariant: one entry for each field of [`Config`], in its order; `ConfigOutOfBounds` names an entry by its name in
//! Solidity. The bounds are the constants of `ProofmillState.sol`; `tests/suite/construction.rs` goes beyond each.

use protocol::eth;

use crate::contract::types::Config;

/// A field of [`Config`] in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The field's name in Rust and in configuration files.
    pub name: &'static str,
    /// The field's name in Solidity, as the contract's error has it.
    pub solidity: &'static str,
    /// What it decides, in which unit, and its bounds.
    pub meaning: &'static str,
    /// The recommended value and the reason for it.
    pub advice: &'static str,
}

/// All settings, in the order of [`Config`].
pub const SETTINGS: [Setting; 11] = [
    Setting {
        name: "operator",
        solidity: "operator",
        meaning: "The only account that submits batches, names further promise signers and collects the fees.",
        advice: "Recommended: the account that deploys. The coordinator signs with its key.",
    },
    Setting {
        name: "quantum",
        solidity: "quantum",
        meaning: "Wei in one coin, the smallest amount that can be paid; 1 to 0.001 ETH (10^15).",
        advice: "Recommended: 1 gwei (10^9). Amounts stay exact to nine decimals of an ETH, and the 2^63 coins that \
                 there can be are more than all ETH there is.",
    },
    Setting {
        name: "deposit_fee_bps",
        solidity: "depositFeeBps",
        meaning: "Fee of a deposit in hundredths of a percent of its value; 0 to 100 (1 %).",
        advice: "Recommended: 10 (0.1 %). It pays for the slot that brings the deposit into the tree.",
    },
    Setting {
        name: "deposit_fee_floor",
        solidity: "depositFeeFloor",
        meaning: "Least fee of a deposit, in coins; up to 0.01 ETH.",
        advice: "Recommended: 10000 coins (0.00001 ETH with coins of 1 gwei). Without a floor, worthless deposits fill the queue.",
    },
    Setting {
        name: "exit_fee_bps",
        solidity: "exitFeeBps",
        meaning: "Fee of a withdrawal or forced exit in hundredths of a percent of its amount; 0 to 100 (1 %).",
        advice: "Recommended: 10 (0.1 %). It pays for the gas of the record on L1.",
    },
    Setting {
        name: "exit_fee_floor",
        solidity: "exitFeeFloor",
        meaning: "Least fee of a withdrawal or forced exit, in coins; up to 0.01 ETH.",
        advice: "Recommended: 10000 coins (0.00001 ETH with coins of 1 gwei). Raise it where gas is expensive: each record costs \
                 the operator some thousand gas.",
    },
    Setting {
        name: "queue_delay",
        solidity: "queueDelay",
        meaning: "Seconds within which a deposit must be minted and a forced request answered; 1 to 2592000 (30 days).",
        advice: "Recommended: 259200 (3 days). Long enough to survive an outage over a weekend, short enough for users to wait.",
    },
    Setting {
        name: "queue_spacing",
        solidity: "queueSpacing",
        meaning: "Least seconds between two deadlines of one queue; 0 to 3600.",
        advice: "Recommended: 10. So many requests at once cannot be due faster than batches can be proved.",
    },
    Setting {
        name: "force_base_fee",
        solidity: "forceBaseFee",
        meaning: "Wei that a forced request pays the operator; up to 0.1 ETH (10^17).",
        advice: "Recommended: 0.001 ETH (10^15). It covers the slot and the gas of the answer.",
    },
    Setting {
        name: "force_surcharge_step",
        solidity: "forceSurchargeStep",
        meaning: "Wei burned by a forced request for each other one that is open; up to 0.1 ETH (10^17).",
        advice: "Recommended: 0.0001 ETH (10^14). Whoever floods the queue pays more for each request.",
    },
    Setting {
        name: "promise_signers",
        solidity: "promiseSigners",
        meaning: "Accounts whose signed promises wallets accept from the start; the operator can add more, nobody removes one.",
        advice: "Recommended: the operator alone. The coordinator signs promises with the operator's key.",
    },
];

/// The setting that the contract's `ConfigOutOfBounds` names.
pub fn by_solidity_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.solidity == name)
}

/// The values of a configuration in words, in the order of [`SETTINGS`].
pub fn in_words(config: &Config) -> [(&'static str, String); 11] {
    let coins = |coins: u64| eth(u128::from(coins) * u128::from(config.quantum));
    let signers: Vec<String> = config.promise_signers.iter().map(address).collect();
    let values = [
        address(&config.operator),
        format!("{} a coin", eth(config.quantum.into())),
        format!("{} of a deposit", percent(config.deposit_fee_bps)),
        format!("at least {}", coins(config.deposit_fee_floor)),
        format!("{} of a withdrawal", percent(config.exit_fee_bps)),
        format!("at least {}", coins(config.exit_fee_floor)),
        time(config.queue_delay),
        format!("{} between two deadlines", time(config.queue_spacing)),
        format!("{} a forced request", eth(config.force_base_fee)),
        format!("{} burned for each open one", eth(config.force_surcharge_step)),
        signers.join(", "),
    ];
    let mut words = SETTINGS.map(|setting| (setting.name, String::new()));
    for ((_, word), value) in words.iter_mut().zip(values) {
        *word = value;
    }
    words
}

fn address(address: &[u8; 20]) -> String {
    format!("0x{}", hex::encode(address))
}

fn percent(bps: u16) -> String {
    let hundredths = format!("{:02}", bps % 100);
    match hundredths.trim_end_matches('0') {
        "" => format!("{} %", bps / 100),
        digits => format!("{}.{digits} %", bps / 100),
    }
}

fn time(seconds: u32) -> String {
    const DAY: u32 = 86_400;
    match seconds {
        DAY => "1 day".to_owned(),
        whole if whole > 0 && whole.is_multiple_of(DAY) => format!("{} days", whole / DAY),
        whole if whole > 0 && whole.is_multiple_of(3_600) => format!("{} h", whole / 3_600),
        other => format!("{other} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recommended_settings_read_as_people_say_them() {
        let words = in_words(&Config::new([0x11; 20]));
        let of = |name: &str| words.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        assert_eq!(of("quantum"), "0.000000001 ETH a coin");
        assert_eq!(of("deposit_fee_bps"), "0.1 % of a deposit");
        assert_eq!(of("exit_fee_floor"), "at least 0.00001 ETH");
        assert_eq!(of("queue_delay"), "3 days");
        assert_eq!(of("queue_spacing"), "10 s between two deadlines");
        assert_eq!(of("force_base_fee"), "0.001 ETH a forced request");
        assert_eq!(of("promise_signers"), format!("0x{}", "11".repeat(20)));
    }

    #[test]
    fn each_setting_of_the_contract_is_explained_under_its_names() {
        let source = include_str!("../../../../contracts/solidity/Types.sol");
        let of_config = source.split("struct Config {").nth(1).unwrap().split('}').next().unwrap();
        let fields: Vec<&str> = of_config
            .lines()
            .map(str::trim)
            .filter(|line| line.ends_with(';'))
            .map(|line| line.trim_end_matches(';').rsplit(' ').next().unwrap())
            .collect();
        assert_eq!(fields, SETTINGS.map(|setting| setting.solidity));
        for setting in SETTINGS {
            let snake: String = setting
                .solidity
                .chars()
                .flat_map(|letter| match letter.is_ascii_uppercase() {
                    true => vec!['_', letter.to_ascii_lowercase()],
                    false => vec![letter],
                })
                .collect();
            assert_eq!(snake, setting.name);
            assert_eq!(by_solidity_name(setting.solidity), Some(&setting));
        }
    }
}
