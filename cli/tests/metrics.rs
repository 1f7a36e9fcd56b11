//! `docs/metrics.md` and the sources name the same metrics.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const DOCUMENTATION: &str = include_str!("../../docs/metrics.md");

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tests read metrics, they make none.
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What follows the table of help texts in its file.
const HELP_ENDS: &str = "static HANDLE";

/// Each name in the sources, and the macros that it is written with, where one is.
fn used() -> BTreeMap<String, BTreeSet<&'static str>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for part in ["coordinator/src", "gpu-worker/src", "cli/src", "crates"] {
        sources(&root.join(part), &mut files);
    }
    let mut names: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        // A text about a metric is no metric.
        let text = text.split_once(HELP_ENDS).map_or(text.as_str(), |(_, rest)| rest);
        for (at, _) in text.match_indices("\"proofmill_") {
            let name = text[at + 1..].split('"').next().unwrap();
            let before = text[..at].trim_end();
            let kinds = ["counter", "gauge", "histogram"];
            let kind = kinds.into_iter().find(|kind| before.ends_with(&format!("{kind}!(")));
            names.entry(name.to_owned()).or_default().extend(kind);
        }
    }
    names
}

fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`');
        (name, cells.next().unwrap())
    })
    .collect()
}

#[test]
fn the_documentation_and_the_sources_name_the_same_metrics() {
    let (used, documented) = (used(), documented());
    let known: BTreeSet<&str> = used.keys().map(String::as_str).collect();
    assert_eq!(known, documented.keys().copied().collect(), "docs/metrics.md and the sources differ");
    let help = include_str!("../../crates/api/src/metrics.rs").split(HELP_ENDS).next().unwrap();
    for (at, _) in help.match_indices("\"proofmill_") {
        let name = help[at + 1..].split('"').next().unwrap();
        assert!(known.contains(name), "the text about {name} is about nothing");
    }
    for (name, kinds) in &used {
        for kind in kinds {
            assert_eq!(documented[name.as_str()], *kind, "{name}");
        }
    }
}
