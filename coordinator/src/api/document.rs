//! Parses a document and bounds it before anything else walks it.
//!
//! A fragment that spreads another one twice doubles at each step, so a few lines can stand for more fields than there
//! are atoms; validators that expand fragments would never return. Here each fragment is measured once. What passes has
//! at most `MAX_FIELDS` fields when all is expanded, `MAX_DEPTH` levels, and introspection that cannot multiply.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned,
    parser::{
        parse_query,
        types::{ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet},
    },
};
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Bytes of a document.
pub const MAX_DOCUMENT: usize = 16 * 1024;
/// Levels of fields.
pub const MAX_DEPTH: usize = 10;
/// Levels below `__schema` and `__type`: the usual introspection queries follow nine levels of `ofType`.
const MAX_INTROSPECTION_DEPTH: usize = 20;
/// Lists inside each other below `__schema` and `__type`, as graphql-js allows: each multiplies the answer.
const MAX_INTROSPECTION_LISTS: usize = 2;
/// Fields of the whole document with all fragments expanded.
const MAX_FIELDS: usize = 2000;

const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";

/// A document within bounds, and the kind of the operation that is to be executed.
#[derive(Debug)]
pub struct Bounded {
    pub document: ExecutableDocument,
    pub operation: OperationType,
}

/// Parses and bounds a document, finds the operation, and checks that its variables are there.
///
/// # Errors
/// `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED`, `BAD_USER_INPUT`, `QUERY_TOO_LARGE`, `QUERY_TOO_DEEP` or
/// `QUERY_TOO_COMPLEX`.
pub fn bound(text: &str, name: Option<&str>, variables: &Map<String, Value>) -> Result<Bounded, Refusal> {
    if text.len() > MAX_DOCUMENT {
        let message = format!("the document has more than {MAX_DOCUMENT} bytes; move values to variables");
        return Err(Refusal::graphql("QUERY_TOO_LARGE", message, vec![]));
    }
    let document = parse_query(text).map_err(|error| {
        let text = error.to_string();
        // The parser draws the place below the text; `locations` says the same.
        let reason = text.rsplit("= ").next().unwrap_or(&text).trim();
        let message = format!("the document does not parse: {reason}; correct it");
        Refusal::graphql("GRAPHQL_PARSE_FAILED", message, error.positions().collect())
    })?;
    let mut ruler = Ruler { document: &document, fragments: HashMap::new() };
    let mut fields = 0_usize;
    for (_, operation) in document.operations.iter() {
        let extent = ruler.selection(&operation.node.selection_set)?;
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
    let operation = select(&document, name)?;
    check_variables(&operation.node, variables)?;
    let operation = operation.node.ty;
    Ok(Bounded { document, operation })
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

fn check_variables(operation: &OperationDefinition, variables: &Map<String, Value>) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let name = definition.node.name.node.as_str();
        let given = variables.get(name).is_some_and(|value| !value.is_null());
        let optional = definition.node.var_type.node.nullable || definition.node.default_value.is_some();
        if !given
            && (!optional || variables.get(name).is_some_and(|_| !definition.node.var_type.node.nullable))
        {
            let message = format!("the variable ${name} needs a value");
            return Err(Refusal::graphql("BAD_USER_INPUT", message, vec![definition.pos]));
        }
    }
    Ok(())
}

/// How large a selection is when everything in it is expanded.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    depth: usize,
    fields: usize,
    /// Introspection lists inside each other.
    lists: usize,
}

impl Extent {
    fn join(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            fields: self.fields.saturating_add(other.fields),
            lists: self.lists.max(other.lists),
        }
    }
}

/// Measures selections; each fragment once.
struct Ruler<'a> {
    document: &'a ExecutableDocument,
    /// Nothing while it is being measured: to meet it again then is a cycle.
    fragments: HashMap<&'a Name, Option<Extent>>,
}

impl<'a> Ruler<'a> {
    fn selection(&mut self, set: &'a Positioned<SelectionSet>) -> Result<Extent, Refusal> {
        let mut extent = Extent::default();
        for item in &set.node.items {
            let part = match &item.node {
                Selection::Field(field) => {
                    self.field(field.node.name.node.as_str(), &field.node.selection_set, item.pos)?
                }
                Selection::InlineFragment(fragment) => self.selection(&fragment.node.selection_set)?,
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, item.pos)?
                }
            };
            extent = extent.join(part);
        }
        Ok(extent)
    }

    fn field(&mut self, name: &str, set: &'a Positioned<SelectionSet>, pos: Pos) -> Result<Extent, Refusal> {
        let below = self.selection(set)?;
        let fields = below.fields.saturating_add(1);
        if name == "__schema" || name == "__type" {
            if below.depth > MAX_INTROSPECTION_DEPTH || below.lists > MAX_INTROSPECTION_LISTS {
                let message =
                    "the introspection is nested too deeply; use the query of getIntrospectionQuery()";
                return Err(Refusal::graphql("QUERY_TOO_DEEP", message, vec![pos]));
            }
            return Ok(Extent { depth: 1, fields, lists: 0 });
        }
        let list = matches!(name, "fields" | "interfaces" | "possibleTypes" | "inputFields");
        Ok(Extent { depth: below.depth + 1, fields, lists: below.lists + usize::from(list) })
    }

    fn fragment(&mut self, name: &'a Name, pos: Pos) -> Result<Extent, Refusal> {
        match self.fragments.get(name) {
            Some(Some(extent)) => return Ok(*extent),
            Some(None) => {
                let message = format!("the fragment {name} contains itself");
                return Err(Refusal::graphql(VALIDATION_FAILED, message, vec![pos]));
            }
            None => {}
        }
        let Some(fragment) = self.document.fragments.get(name) else {
            return Err(Refusal::graphql(
                VALIDATION_FAILED,
                format!("there is no fragment {name}"),
                vec![pos],
            ));
        };
        self.fragments.insert(name, None);
        let extent = self.selection(&fragment.node.selection_set)?;
        self.fragments.insert(name, Some(extent));
        Ok(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Result<OperationType, &'static str> {
        bound(text, None, &Map::new())
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
        for i in 0..40 {
            bomb += &format!("fragment F{i} on Query{{...F{j} ...F{j}}}", j = i + 1);
        }
        bomb += "fragment F40 on Query{__typename}";
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
        let named = |name| bound(two, Some(name), &Map::new()).map(|_| ());
        assert!(named("B").is_ok());
        assert_eq!(named("C").unwrap_err().errors[0].code, "BAD_USER_INPUT");
    }

    #[test]
    fn a_required_variable_must_have_a_value() {
        let text = "query($a: Int!, $b: Int, $c: Int! = 3){a}";
        assert_eq!(code(text), Err("BAD_USER_INPUT"));
        let given = |json: &str| bound(text, None, &serde_json::from_str(json).unwrap()).is_ok();
        assert!(given(r#"{"a": 1}"#));
        assert!(!given(r#"{"a": null}"#));
        assert!(!given(r#"{"a": 1, "c": null}"#));
    }
}
