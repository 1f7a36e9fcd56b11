//! The contract's settings as a TOML file: written with the recommended values and what they mean, read strictly.
//!
//! Invariant: what the file leaves out has the recommended value; a name that is not a setting's is refused with the name.

use std::{fmt::Write, path::Path};

use eyre::WrapErr;
use l1::contract::{settings::SETTINGS, types::Config};
use protocol::{Address, parse_address};
use serde::Deserialize;

use super::toml_file;

/// The file as it is read. Accounts are text, numbers are in the units of the contract.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    operator: Option<String>,
    quantum: Option<u64>,
    deposit_fee_bps: Option<u16>,
    deposit_fee_floor: Option<u64>,
    exit_fee_bps: Option<u16>,
    exit_fee_floor: Option<u64>,
    queue_delay: Option<u32>,
    queue_spacing: Option<u32>,
    force_base_fee: Option<u64>,
    force_surcharge_step: Option<u64>,
    promise_signers: Option<Vec<String>>,
}

/// The recommended settings for an operator.
pub fn recommended(deployer: Address) -> Config {
    Config::new(deployer)
}

/// The settings of a file.
///
/// # Errors
/// If it cannot be read, is not TOML, or names anything that is no setting.
pub fn read(path: &Path, deployer: Address) -> eyre::Result<Config> {
    let settings: Settings = toml_file::read(path).wrap_err(
        "the settings of the contract; `proofmill deploy --print-config` writes a file that can be read",
    )?;
    let account = |text: &String| parse_address(text).wrap_err_with(|| format!("in {}", path.display()));
    let operator = settings.operator.as_ref().map(account).transpose()?.unwrap_or(deployer);
    let base = Config::new(operator);
    let signers = settings.promise_signers.map(|list| list.iter().map(account).collect()).transpose()?;
    Ok(Config {
        operator,
        quantum: settings.quantum.unwrap_or(base.quantum),
        deposit_fee_bps: settings.deposit_fee_bps.unwrap_or(base.deposit_fee_bps),
        deposit_fee_floor: settings.deposit_fee_floor.unwrap_or(base.deposit_fee_floor),
        exit_fee_bps: settings.exit_fee_bps.unwrap_or(base.exit_fee_bps),
        exit_fee_floor: settings.exit_fee_floor.unwrap_or(base.exit_fee_floor),
        queue_delay: settings.queue_delay.unwrap_or(base.queue_delay),
        queue_spacing: settings.queue_spacing.unwrap_or(base.queue_spacing),
        force_base_fee: settings.force_base_fee.map_or(base.force_base_fee, u128::from),
        force_surcharge_step: settings.force_surcharge_step.map_or(base.force_surcharge_step, u128::from),
        promise_signers: signers.unwrap_or(base.promise_signers),
    })
}

/// A file with the recommended values, each explained. The accounts are those of whoever deploys, so they are left open.
pub fn explained() -> String {
    let config = Config::new(Address::default());
    let mut text = String::from(
        "# The settings of a Proofmill contract, with the recommended values.\n\
         # They are fixed by the deployment: nothing of it can be changed later, except that promise signers can be added.\n",
    );
    for setting in SETTINGS {
        let value = match setting.name {
            "quantum" => config.quantum.into(),
            "deposit_fee_bps" => config.deposit_fee_bps.into(),
            "deposit_fee_floor" => config.deposit_fee_floor.into(),
            "exit_fee_bps" => config.exit_fee_bps.into(),
            "exit_fee_floor" => config.exit_fee_floor.into(),
            "queue_delay" => config.queue_delay.into(),
            "queue_spacing" => config.queue_spacing.into(),
            "force_base_fee" => config.force_base_fee,
            "force_surcharge_step" => config.force_surcharge_step,
            _ => 0,
        };
        let line = match setting.name {
            "operator" => "#operator = \"0x…\"".to_owned(),
            "promise_signers" => "#promise_signers = [\"0x…\"]".to_owned(),
            name => format!("{name} = {value}"),
        };
        // Writing to a `String` does not fail.
        let _ = write!(text, "\n# {}\n# {}\n{line}\n", setting.meaning, setting.advice);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &str) -> eyre::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        fs::write(&path, text).unwrap();
        read(&path, [0x11; 20])
    }

    #[test]
    fn the_printed_file_reads_as_the_recommended_settings_and_explains_all_eleven() {
        let text = explained();
        assert_eq!(read_text(&text).unwrap(), recommended([0x11; 20]));
        for setting in SETTINGS {
            assert!(
                text.contains(&format!("{} = ", setting.name)) && text.contains(setting.advice),
                "{text}"
            );
        }
    }

    #[test]
    fn an_account_in_the_file_becomes_the_operator_and_the_promise_signer() {
        let config = read_text(&format!("operator = \"0x{}\"\nqueue_delay = 60", "22".repeat(20))).unwrap();
        assert_eq!((config.operator, config.queue_delay), ([0x22; 20], 60));
        assert_eq!(config.promise_signers, [[0x22; 20]]);
        let listed = format!("promise_signers = [\"0x{}\", \"0x{}\"]", "33".repeat(20), "44".repeat(20));
        assert_eq!(read_text(&listed).unwrap().promise_signers, [[0x33; 20], [0x44; 20]]);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_name_and_what_is_no_value_with_its_line() {
        let said = |text: &str| format!("{:#}", read_text(text).unwrap_err());
        assert!(said("quantum = 1\nqueue_dealy = 3").contains("queue_dealy"));
        assert!(said("quantum = 1\nqueue_delay = -3").contains("queue_delay = -3"));
        assert!(said("quantum = \"1 gwei\"").contains("line 1"));
        assert!(said("operator = \"0x12\"").contains("0x12"));
        assert!(said("quantum = 1\nquantum = 2").contains("quantum"));
    }
}
