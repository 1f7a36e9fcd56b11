//! Parses a document, bounds it before anything else walks it, and mends what the library leaves open.
//!
//! Nesting is bounded on the bytes, before the parser, which calls itself for each bracket. A fragment that spreads another one
//! twice doubles at each step, so a few lines can stand for more fields than there are atoms; validators that expand fragments
//! would never return. Here each fragment is measured once. What passes has at most `MAX_FIELDS` fields when all is expanded,
//! `MAX_DEPTH` levels of fields, and introspection that cannot multiply.
//!
//! | file | part |
//! |---|---|
//! | `extent` | how large and how deep a selection is with all fragments expanded |
//! | `cache` | documents that were read lately |
//! | `typename` | makes the library validate what is written at `__typename` |
//! | `shape` | which keys an answer has, in the order of the request |

use async_graphql::{
    Pos, Positioned,
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, SelectionSet},
    },
};
use protocol::depth::{self, DepthError};
use serde_json::{Map, Value};

use super::refusal::Refusal;

mod cache;
mod extent;
mod shape;
mod typename;

pub use cache::Documents;
use extent::Ruler;
pub use shape::{Shape, Types};

/// Bytes of a document.
pub const MAX_DOCUMENT: usize = 16 * 1024;
/// Levels of fields.
const MAX_DEPTH: usize = 10;
/// Fields of the whole document with all fragments expanded.
const MAX_FIELDS: usize = 2000;

const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";

/// A document within bounds, ready to be executed.
#[derive(Debug)]
pub struct Bounded {
    pub document: ExecutableDocument,
    /// The kind of the operation that is to be executed.
    pub operation: OperationType,
    /// With the defaults of those that were not given.
    pub variables: Map<String, Value>,
    /// What the answer looks like.
    pub shape: Shape,
}

/// Parses and bounds a document, finds the operation, and checks that its variables are there.
///
/// # Errors
/// `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED`, `BAD_USER_INPUT`, `QUERY_TOO_LARGE`, `QUERY_TOO_DEEP` or
/// `QUERY_TOO_COMPLEX`.
pub fn bound(
    text: &str,
    name: Option<&str>,
    variables: Map<String, Value>,
    types: &Types,
) -> Result<Bounded, Refusal> {
    complete(read(text)?, name, variables, types)
}

/// What a document alone decides.
fn read(text: &str) -> Result<ExecutableDocument, Refusal> {
    let mut document = parse(text)?;
    measure(&document)?;
    typename::lift(&mut document)?;
    Ok(document)
}

/// What depends on the rest of the request.
fn complete(
    mut document: ExecutableDocument,
    name: Option<&str>,
    mut variables: Map<String, Value>,
    types: &Types,
) -> Result<Bounded, Refusal> {
    let operation = select(&document, name)?;
    complete_variables(&operation.node, &mut variables)?;
    let shape = Shape::of(&document, &operation.node, &variables, types)?;
    let operation = operation.node.ty;
    shape::keep_objects(&mut document);
    Ok(Bounded { document, operation, variables, shape })
}

fn parse(text: &str) -> Result<ExecutableDocument, Refusal> {
    if text.len() > MAX_DOCUMENT {
        let message = format!("the document has more than {MAX_DOCUMENT} bytes; move values to variables");
        return Err(Refusal::graphql("QUERY_TOO_LARGE", message, vec![]));
    }
    depth::check_graphql(text.as_bytes()).map_err(|error| {
        let (code, message) = match error {
            DepthError::TooDeep { .. } => (
                "QUERY_TOO_DEEP",
                format!(
                    "the document has more than {} brackets inside each other; nest less",
                    depth::MAX_DEPTH
                ),
            ),
            DepthError::OpenString { .. } => (
                "GRAPHQL_PARSE_FAILED",
                "the document does not parse: a string has no end; close it".to_owned(),
            ),
        };
        Refusal::graphql(code, message, vec![place(text, error.offset())])
    })?;
    parse_query(text).map_err(|error| {
        let text = error.to_string();
        // The parser draws the place below the text; `locations` says the same.
        let reason = text.rsplit("= ").next().unwrap_or(&text).trim();
        let message = format!("the document does not parse: {reason}; correct it");
        Refusal::graphql("GRAPHQL_PARSE_FAILED", message, error.positions().collect())
    })
}

/// Line and column, from 1, of a byte.
fn place(text: &str, offset: usize) -> Pos {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.rsplit('\n').next().unwrap_or(before);
    Pos { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

fn measure(document: &ExecutableDocument) -> Result<(), Refusal> {
    let mut ruler = Ruler::new(document);
    let mut fields = 0_usize;
    for (_, operation) in document.operations.iter() {
        let extent = ruler.measure(&operation.node.selection_set)?;
        fields = fields.saturating_add(extent.fields);
        if extent.depth > MAX_DEPTH {
            let message =
                format!("the query has more than {MAX_DEPTH} levels of fields; ask in several requests");
            return Err(Refusal::graphql("QUERY_TOO_DEEP", message, vec![operation.pos]));
        }
    }
    if fields > MAX_FIELDS {
        let message = format!("the query has more than {MAX_FIELDS} fields in all; ask in several requests");
        return Err(Refusal::graphql("QUERY_TOO_COMPLEX", message, vec![]));
    }
    ruler.check_unused()
}

/// The selections that everything else is below.
fn root_selections(document: &mut ExecutableDocument) -> Vec<&mut SelectionSet> {
    let mut sets: Vec<_> = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![&mut operation.node.selection_set.node],
        DocumentOperations::Multiple(operations) => {
            operations.values_mut().map(|operation| &mut operation.node.selection_set.node).collect()
        }
    };
    sets.extend(document.fragments.values_mut().map(|fragment| &mut fragment.node.selection_set.node));
    sets
}

fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Positioned<OperationDefinition>, Refusal> {
    let mut operations = document.operations.iter();
    let (found, hint) = match name {
        Some(name) => (
            operations.find(|(known, _)| known.is_some_and(|known| known.as_str() == name)),
            "the document has no operation with the name in `operationName`",
        ),
        None => {
            let first = operations.next();
            (first.filter(|_| operations.next().is_none()), "name one operation in `operationName`")
        }
    };
    found.map(|(_, operation)| operation).ok_or_else(|| Refusal::graphql("BAD_USER_INPUT", hint, vec![]))
}

/// Gives the variables that were left out their defaults.
fn complete_variables(
    operation: &OperationDefinition,
    variables: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let (name, nullable) = (definition.node.name.node.as_str(), definition.node.var_type.node.nullable);
        let default = definition.node.default_value.as_ref();
        let missing = match variables.get(name) {
            None => default.is_none() && !nullable,
            Some(given) => given.is_null() && !nullable,
        };
        if missing {
            let message = format!("the variable ${name} needs a value");
            return Err(Refusal::graphql("BAD_USER_INPUT", message, vec![definition.pos]));
        }
        if let Some(default) = default.filter(|_| !variables.contains_key(name)) {
            let value = default.node.clone().into_json().unwrap_or(Value::Null);
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Result<OperationType, &'static str> {
        bound(text, None, Map::new(), &Types::default())
            .map(|bounded| bounded.operation)
            .map_err(|refusal| refusal.errors[0].code)
    }

    fn nested(levels: usize) -> String {
        format!("{{{}x{}}}", "a{".repeat(levels - 1), "}".repeat(levels - 1))
    }

    #[test]
    fn ten_levels_pass_and_eleven_do_not() {
        assert_eq!(code(&nested(MAX_DEPTH)), Ok(OperationType::Query));
        assert_eq!(code(&nested(MAX_DEPTH + 1)), Err("QUERY_TOO_DEEP"));
    }

    #[test]
    fn depth_is_counted_through_fragments() {
        let fragment = |inner: &str| format!("{{a{{a{{a{{a{{a{{...F}}}}}}}}}}}} fragment F on A {inner}");
        assert_eq!(code(&fragment("{a{a{a{a{a}}}}}")), Ok(OperationType::Query));
        assert_eq!(code(&fragment("{a{a{a{a{a{a}}}}}}")), Err("QUERY_TOO_DEEP"));
    }

    #[test]
    fn a_fragment_bomb_is_refused_at_once() {
        let mut bomb = String::from("{...F0}");
        for i in 0..25 {
            bomb += &format!("fragment F{i} on Query{{...F{j} ...F{j}}}", j = i + 1);
        }
        bomb += "fragment F25 on Query{__typename}";
        assert_eq!(code(&bomb), Err("QUERY_TOO_COMPLEX"));
    }

    #[test]
    fn fragments_in_a_circle_and_missing_ones_are_refused() {
        let circle = "{...A} fragment A on Query{...B} fragment B on Query{...A}";
        assert_eq!(code(circle), Err(VALIDATION_FAILED));
        assert_eq!(code("{...A}"), Err(VALIDATION_FAILED));
    }

    #[test]
    fn introspection_may_be_deep_but_not_multiply() {
        let of_type =
            |levels| format!("{{__schema{{types{{a{}}}}}}}", "{ofType".repeat(levels) + &"}".repeat(levels));
        assert_eq!(code(&of_type(15)), Ok(OperationType::Query));
        assert_eq!(code(&of_type(25)), Err("QUERY_TOO_DEEP"));
        let lists = "{__schema{types{fields{type{fields{type{fields{name}}}}}}}}";
        assert_eq!(code(lists), Err("QUERY_TOO_DEEP"));
    }

    #[test]
    fn the_operation_must_be_clear() {
        let two = "query A{a} query B{b}";
        assert_eq!(code(two), Err("BAD_USER_INPUT"));
        let named = |name| bound(two, Some(name), Map::new(), &Types::default()).map(|_| ());
        assert!(named("B").is_ok());
        assert_eq!(named("C").unwrap_err().errors[0].code, "BAD_USER_INPUT");
    }

    #[test]
    fn a_required_variable_must_have_a_value() {
        let text = "query($a: Int!, $b: Int, $c: Int! = 3){a}";
        assert_eq!(code(text), Err("BAD_USER_INPUT"));
        let given =
            |json: &str| bound(text, None, serde_json::from_str(json).unwrap(), &Types::default()).is_ok();
        assert!(given(r#"{"a": 1}"#));
        assert!(!given(r#"{"a": null}"#));
        assert!(!given(r#"{"a": 1, "c": null}"#));
    }
}
