//! How large and how deep a selection is when everything in it is expanded; each fragment is measured once.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

use super::VALIDATION_FAILED;
use crate::refusal::Refusal;

/// Levels below `__schema` and `__type`: the usual introspection queries follow nine levels of `ofType`.
const MAX_INTROSPECTION_DEPTH: usize = 20;
/// Lists inside each other below `__schema` and `__type`, as graphql-js allows: each multiplies the answer.
const MAX_INTROSPECTION_LISTS: usize = 2;
/// Selections inside each other, those of fragments included: whatever walks a document calls itself so often. The library's own
/// bound is one more.
const MAX_NESTING: usize = 32;

/// How large a selection is when everything in it is expanded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    pub depth: usize,
    pub fields: usize,
    /// Introspection lists inside each other.
    lists: usize,
    /// Selections inside each other, fragments among them.
    nesting: usize,
}

impl Extent {
    fn join(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            fields: self.fields.saturating_add(other.fields),
            lists: self.lists.max(other.lists),
            nesting: self.nesting.max(other.nesting),
        }
    }
}

/// Measures selections; each fragment once.
pub struct Ruler<'a> {
    document: &'a ExecutableDocument,
    /// Nothing while it is being measured: to meet it again then is a cycle.
    fragments: HashMap<&'a Name, Option<Extent>>,
}

impl<'a> Ruler<'a> {
    pub fn new(document: &'a ExecutableDocument) -> Self {
        Self { document, fragments: HashMap::new() }
    }

    /// # Errors
    /// Nesting, introspection or fragments beyond their bounds, a fragment that contains itself or is not there.
    pub fn measure(&mut self, set: &'a Positioned<SelectionSet>) -> Result<Extent, Refusal> {
        self.selection(set, 1)
    }

    /// Refuses fragments that were not met: the library would walk them without a bound.
    ///
    /// # Errors
    /// `GRAPHQL_VALIDATION_FAILED` with the first of them.
    pub fn check_unused(&self) -> Result<(), Refusal> {
        let unused = self.document.fragments.iter().filter(|(name, _)| !self.fragments.contains_key(name));
        match unused.min_by_key(|(_, fragment)| fragment.pos) {
            Some((name, fragment)) => {
                let message = format!("the fragment {name} is not used; leave it out");
                Err(Refusal::graphql(VALIDATION_FAILED, message, vec![fragment.pos]))
            }
            None => Ok(()),
        }
    }

    /// A selection that stands `level` selections deep.
    fn selection(&mut self, set: &'a Positioned<SelectionSet>, level: usize) -> Result<Extent, Refusal> {
        if set.node.items.is_empty() {
            return Ok(Extent::default());
        }
        if level > MAX_NESTING {
            return Err(too_nested(set.pos));
        }
        let mut extent = Extent::default();
        for item in &set.node.items {
            let part = match &item.node {
                Selection::Field(field) => {
                    self.field(field.node.name.node.as_str(), &field.node.selection_set, item.pos, level)?
                }
                Selection::InlineFragment(fragment) => {
                    self.selection(&fragment.node.selection_set, level + 1)?
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node, item.pos, level)?
                }
            };
            extent = extent.join(part);
        }
        extent.nesting += 1;
        Ok(extent)
    }

    fn field(
        &mut self,
        name: &str,
        set: &'a Positioned<SelectionSet>,
        pos: Pos,
        level: usize,
    ) -> Result<Extent, Refusal> {
        let below = self.selection(set, level + 1)?;
        let fields = below.fields.saturating_add(1);
        if name == "__schema" || name == "__type" {
            if below.depth > MAX_INTROSPECTION_DEPTH || below.lists > MAX_INTROSPECTION_LISTS {
                let message =
                    "the introspection is nested too deeply; use the query of getIntrospectionQuery()";
                return Err(Refusal::graphql("QUERY_TOO_DEEP", message, vec![pos]));
            }
            return Ok(Extent { depth: 1, fields, lists: 0, ..below });
        }
        let list = matches!(name, "fields" | "interfaces" | "possibleTypes" | "inputFields");
        Ok(Extent { depth: below.depth + 1, fields, lists: below.lists + usize::from(list), ..below })
    }

    fn fragment(&mut self, name: &'a Name, pos: Pos, level: usize) -> Result<Extent, Refusal> {
        match self.fragments.get(name) {
            Some(Some(extent)) if level + extent.nesting > MAX_NESTING => return Err(too_nested(pos)),
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
        let extent = self.selection(&fragment.node.selection_set, level + 1)?;
        self.fragments.insert(name, Some(extent));
        Ok(extent)
    }
}

fn too_nested(pos: Pos) -> Refusal {
    let message = format!(
        "the query has more than {MAX_NESTING} selections inside each other, with fragments; nest less"
    );
    Refusal::graphql("QUERY_TOO_DEEP", message, vec![pos])
}
