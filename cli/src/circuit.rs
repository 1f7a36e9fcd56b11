//! `circuit info`: the size and the digest of a circuit.

use circuits::shape::Shape;
use clap::Subcommand;
use gpu_worker::matrices;
use serde_json::json;

#[derive(Subcommand)]
pub enum Command {
    /// Constraints, domain and digest of a circuit
    Info {
        /// s3m1, s14m2, s4m60, s60m4, s252m4 or s1020m4
        name: Shape,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: Command) -> eyre::Result<()> {
    let Command::Info { name: shape, json } = command;
    let matrices = matrices(shape)?;
    let per_payment = matrices.constraints() / shape.slots();
    let domain = 1u64 << matrices.domain_log();
    let digest = crate::ui::hex(&matrices.digest());
    let terms = matrices.a().terms() + matrices.b().terms() + matrices.c().terms();
    if json {
        let info = json!({
            "name": shape.name(),
            "number": shape.number(),
            "slots": shape.slots(),
            "mint_places": shape.mint_places(),
            "forced_slots": shape.forced_slots(),
            "constraints": matrices.constraints(),
            "constraints_per_payment": per_payment,
            "variables": matrices.variables(),
            "terms": terms,
            "domain": domain,
            "digest": digest,
        });
        say!("{info:#}");
    } else {
        say!("{shape} (circuit {})", shape.number());
        say!("  slots                    {} ({} of them may be forced)", shape.slots(), shape.forced_slots());
        say!("  mint places              {}", shape.mint_places());
        say!("  constraints              {}", matrices.constraints());
        say!("  constraints per payment  {per_payment}");
        say!("  variables                {}", matrices.variables());
        say!("  terms in A, B and C      {terms}");
        say!("  domain                   {domain} = 2^{}", matrices.domain_log());
        say!("  digest                   {digest}");
    }
    Ok(())
}
