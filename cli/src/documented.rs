//! What documents and error sentences tell people to type is what the program takes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Parser};

use crate::Cli;

/// Flags of other programs that our sentences and documents may name.
const FOREIGN: [&str; 3] = ["--test-threads", "--nocapture", "--exact"];
/// Programs whose lines in documents have flags of their own.
const PROGRAMS: [&str; 9] =
    ["cargo", "npm", "redis-server", "--tls-", "--bin", "simulate", "peers", "scripts/", ".sh"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["node_modules", "target", "results"].contains(&name.as_str()) && !name.starts_with('.') {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["docs", "infra", "crates", "cuda", "gpu-worker", "contracts"] {
        files(&root().join(folder), "md", &mut found);
    }
    found.extend(["README.md", "SECURITY.md"].map(|name| root().join(name)));
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Lines of our own sources, without comments.
fn source_lines() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for name in ["cli", "coordinator", "gpu-worker", "cuda", "contracts"] {
        files(&root().join(name).join("src"), "rs", &mut found);
    }
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let library = entry.unwrap().path();
        // It starts programs of others.
        if !library.ends_with("testbed") {
            files(&library.join("src"), "rs", &mut found);
        }
    }
    let lines = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| (path.clone(), line.to_owned()))
            .collect();
        lines
    };
    found.into_iter().filter(|path| !path.ends_with("cli/src/documented.rs")).flat_map(lines).collect()
}

/// `--words` of a text that are written like flags.
fn flags(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("--") {
        let before = text[..at].chars().next_back();
        let flag: String = text[at + 2..]
            .chars()
            .take_while(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '-')
            .collect();
        let begins = flag.starts_with(|letter: char| letter.is_ascii_lowercase());
        if begins && !before.is_some_and(|letter| letter == '-' || letter.is_alphanumeric()) {
            found.push(format!("--{}", flag.trim_end_matches('-')));
        }
    }
    found
}

/// All long flags of a command and those below it.
fn known(command: &clap::Command, found: &mut BTreeSet<String>) {
    found.extend(command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))));
    found.extend(["--help", "--version"].map(str::to_owned));
    command.get_subcommands().for_each(|below| known(below, found));
}

#[test]
fn every_flag_that_a_sentence_of_ours_names_exists() {
    let mut all = BTreeSet::from(FOREIGN.map(str::to_owned));
    known(&Cli::command(), &mut all);
    for (path, line) in source_lines() {
        for flag in flags(&line) {
            assert!(all.contains(&flag), "{} names {flag}, which no command has: {line}", path.display());
        }
    }
    for (path, text) in documents() {
        // Decisions tell of what there was.
        if path.ends_with("docs/decisions.md") {
            continue;
        }
        for line in text.lines().filter(|line| !PROGRAMS.iter().any(|program| line.contains(program))) {
            for flag in flags(line) {
                assert!(all.contains(&flag), "{} names {flag}, which no command has: {line}", path.display());
            }
        }
    }
}

/// The commands of `proofmill` in the shell blocks of a document, one a line.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines() {
            let line = line.split(" # ").next().unwrap().split("   #").next().unwrap();
            let line = line.split(" > ").next().unwrap();
            for command in line.split(" && ") {
                let command = command.trim();
                let rest = command
                    .strip_prefix("proofmill ")
                    .or_else(|| command.strip_prefix("cargo run --release -- "));
                found.extend(rest.map(str::to_owned));
            }
        }
    }
    found
}

/// Words of a line as a shell makes them, quotes removed.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (letter, quote) {
            (letter, Some(end)) if letter == end => quote = None,
            ('\'' | '"', None) => quote = Some(letter),
            (' ', None) => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(letter),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// What a reader puts in the place of a word that stands for something.
fn filled(word: String) -> String {
    match word.as_str() {
        "0x…" => format!("0x{}", "11".repeat(20)),
        "N" => "1".to_owned(),
        _ => word,
    }
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut count = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            let words =
                std::iter::once("proofmill".to_owned()).chain(words(&command).into_iter().map(filled));
            if let Err(error) = Cli::try_parse_from(words) {
                let file = path.display();
                panic!("{file} has `proofmill {command}`, which is refused:\n{error}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} commands were found");
}

/// What stands in backticks and begins with our name.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("proofmill ")).collect()
}

#[test]
fn every_subcommand_that_is_named_exists() {
    let check = |path: &Path, code: &str| {
        let mut command = &Cli::command();
        for word in code.split_whitespace() {
            // Ours are lower case; the rest are values.
            let is_name = word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
            if !is_name || word.starts_with('-') || command.get_subcommands().next().is_none() {
                break;
            }
            let below = command.get_subcommands().find(|below| below.get_name() == word);
            let file = path.display();
            command = below.unwrap_or_else(|| panic!("{file} names `proofmill {code}`: there is no {word}"));
        }
    };
    for (path, line) in source_lines() {
        quoted(&line).into_iter().for_each(|code| check(&path, code));
    }
    for (path, text) in documents() {
        // Its texts are hashed and signed, not typed.
        if path.ends_with("docs/protocol-v1.md") {
            continue;
        }
        // Fences are quotes too; what is between them is tested above.
        let plain: Vec<&str> = text.split("```").step_by(2).collect();
        plain.into_iter().flat_map(quoted).for_each(|code| check(&path, code));
    }
}
