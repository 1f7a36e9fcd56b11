//! Text to programs: comments, statements and declarations. Instructions are in `lower`.

use std::collections::HashMap;

use super::lower::Body;
use super::program::{Function, Module, ParamPlace};

/// Directives on a line of their own that say nothing about what the program computes.
const IGNORED: [&str; 4] = [".version", ".target", ".address_size", ".pragma"];

/// The head of a function, before its body is known.
pub struct Head {
    pub name: String,
    pub is_entry: bool,
    pub threads: u32,
    pub params: Vec<(String, ParamPlace)>,
    pub results: Vec<(String, ParamPlace)>,
}

/// What a statement ends with.
enum End {
    Semicolon,
    Open,
    Close,
    Label,
}

struct Statement {
    text: String,
    line: u32,
    end: End,
}

pub fn module(text: &str) -> Result<Module, String> {
    let statements = statements(text)?;
    let mut functions = Vec::new();
    // Functions may be called before they are defined, so the heads come first.
    let mut depth = 0;
    let mut bodies: Vec<(Head, usize, usize)> = Vec::new();
    for (at, statement) in statements.iter().enumerate() {
        let failed = |what: &str| format!("line {}: {what}: {}", statement.line, statement.text);
        match statement.end {
            End::Open if depth == 0 => {
                bodies.push((head(&statement.text).map_err(|e| failed(&e))?, at + 1, at + 1));
                depth = 1;
            }
            End::Open => depth += 1,
            End::Close => {
                depth -= 1;
                if depth == 0
                    && let Some(body) = bodies.last_mut()
                {
                    body.2 = at;
                }
            }
            // A function that is defined further down.
            End::Semicolon if depth == 0 && statement.text.contains(".func") => {}
            _ if depth == 0 => return Err(failed("unknown directive")),
            _ => {}
        }
    }
    let heads: HashMap<String, usize> =
        bodies.iter().enumerate().map(|(i, (head, ..))| (head.name.clone(), i)).collect();
    for (head, begin, end) in &bodies {
        functions.push(function(head, &statements[*begin..*end], &heads)?);
    }
    Ok(Module { functions })
}

fn function(
    head: &Head,
    statements: &[Statement],
    heads: &HashMap<String, usize>,
) -> Result<Function, String> {
    let mut body = Body::new(head, heads);
    for statement in statements {
        let failed = |what: String| format!("line {}: {what}: {}", statement.line, statement.text);
        match statement.end {
            End::Label => body.label(&statement.text),
            End::Semicolon => body.statement(&statement.text, statement.line).map_err(failed)?,
            End::Open | End::Close if statement.text.is_empty() => {}
            End::Open | End::Close => return Err(failed("a scope inside of a statement".to_owned())),
        }
    }
    body.finish()
}

fn statements(text: &str) -> Result<Vec<Statement>, String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut begin = 0;
    let (mut depth, mut in_operand) = (0_u32, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if IGNORED.iter().any(|directive| line.starts_with(directive)) {
            continue;
        }
        for c in line.chars() {
            if current.is_empty() {
                begin = number as u32 + 1;
            }
            let end = match c {
                '{' if depth == 0 || current.is_empty() => End::Open,
                '{' => {
                    in_operand = true;
                    current.push(c);
                    continue;
                }
                '}' if in_operand => {
                    in_operand = false;
                    current.push(c);
                    continue;
                }
                '}' => End::Close,
                ';' => End::Semicolon,
                ':' if depth > 0 && !current.contains(char::is_whitespace) => End::Label,
                c if c.is_whitespace() => {
                    if !current.is_empty() && !current.ends_with(' ') {
                        current.push(' ');
                    }
                    continue;
                }
                c => {
                    current.push(c);
                    continue;
                }
            };
            match end {
                End::Open => depth += 1,
                End::Close => {
                    depth = depth.checked_sub(1).ok_or(format!("line {begin}: a brace too many"))?
                }
                End::Semicolon | End::Label => {}
            }
            let text = std::mem::take(&mut current).trim().to_owned();
            statements.push(Statement { text, line: begin, end });
        }
        if !current.is_empty() && !current.ends_with(' ') {
            current.push(' ');
        }
    }
    if !current.trim().is_empty() || depth > 0 {
        return Err("the text ends in a statement".to_owned());
    }
    Ok(statements)
}

fn head(text: &str) -> Result<Head, String> {
    let text = text.trim_start_matches(".visible ").trim_start_matches(".weak ");
    let is_entry = text.starts_with(".entry ");
    let rest = text.strip_prefix(".entry ").or(text.strip_prefix(".func ")).ok_or("not a function")?;
    let mut rest = rest.trim_start();
    let mut places = Places::default();
    let mut results = Vec::new();
    if rest.starts_with('(') {
        let (list, after) = parenthesised(rest)?;
        results = places.declare(list)?;
        rest = after;
    }
    let name_end = rest.find(['(', ' ', '.']).unwrap_or(rest.len());
    let name = rest[..name_end].to_owned();
    rest = rest[name_end..].trim_start();
    let mut params = Vec::new();
    if rest.starts_with('(') {
        let (list, after) = parenthesised(rest)?;
        params = places.declare(list)?;
        rest = after;
    }
    let mut threads = 1;
    let words: Vec<&str> = rest.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    if let Some(at) = words.iter().position(|word| *word == ".maxntid") {
        threads = words.get(at + 1).and_then(|n| n.parse().ok()).ok_or("no number of threads")?;
    }
    Ok(Head { name, is_entry, threads, params, results })
}

fn parenthesised(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(')').ok_or("no closing parenthesis")?;
    Ok((&text[1..end], text[end + 1..].trim_start()))
}

/// Gives places in the parameters of a frame.
#[derive(Default)]
struct Places {
    used: u32,
}

impl Places {
    fn declare(&mut self, list: &str) -> Result<Vec<(String, ParamPlace)>, String> {
        let declarations = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        declarations
            .map(|text| {
                let (name, alignment, bytes) = variable(text)?;
                let offset = self.used.next_multiple_of(alignment);
                self.used = offset + bytes;
                Ok((name, ParamPlace { offset, bytes }))
            })
            .collect()
    }
}

/// Name, alignment and bytes of `.param .align 8 .b8 name[64]` and the like.
pub fn variable(text: &str) -> Result<(String, u32, u32), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (Some(last), true) = (words.last(), words.len() >= 3) else {
        return Err("not a declaration".to_owned());
    };
    let size = bits(words[words.len() - 2])? / 8;
    let alignment = match words.iter().position(|word| *word == ".align") {
        Some(at) => words[at + 1].parse().map_err(|_| "not an alignment")?,
        None => size,
    };
    let (name, count) = match last.split_once('[') {
        Some((name, count)) => {
            (name, count.trim_end_matches(']').parse::<u32>().map_err(|_| "not a length")?)
        }
        None => (*last, 1),
    };
    Ok((name.to_owned(), alignment, size * count))
}

/// The width of a type such as `.b32`; a predicate has one bit.
pub fn bits(kind: &str) -> Result<u32, String> {
    let kind = kind.trim_start_matches('.');
    let width = kind.trim_start_matches(['b', 'u', 's']);
    match (kind, width) {
        ("pred", _) => Ok(1),
        (_, "8" | "16" | "32" | "64") if width.len() + 1 == kind.len() => {
            width.parse().map_err(|_| format!("unknown type {kind}"))
        }
        _ => Err(format!("unknown type {kind}")),
    }
}
