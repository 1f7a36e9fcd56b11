//! Writes the test vectors of `docs/vectors` that this crate is the source of, or prints random ones.
//!
//! ```sh
//! cargo run --release -p proofmill-circuits --example write_vectors
//! cargo run --release -p proofmill-circuits --example write_vectors -- random 12 7 | node docs/vectors/check.mjs -
//! ```
//! `random N SEED` prints N cases of each kind as JSON lines `{"file": …, "case": …}`, and as many batches in one chain.
//! `docs/vectors/check.mjs` recomputes files and lines with implementations that share no code with this one.

use std::{error::Error, fs, path::Path};

mod cases;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors");
            for (name, contents) in cases::files()? {
                fs::write(folder.join(name), cases::pretty(&contents)?)?;
                println!("wrote {name}");
            }
        }
        ["random", count, seed] => {
            for line in cases::random(count.parse()?, seed.parse()?)? {
                println!("{line}");
            }
        }
        _ => {
            return Err(
                "give no argument to write the files, or `random N SEED` to print random cases".into()
            );
        }
    }
    Ok(())
}
