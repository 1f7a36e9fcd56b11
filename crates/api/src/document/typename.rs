//! Makes the library validate what is written at `__typename`, which its validators pass over: arguments and selections are
//! refused here, directives are moved to an inline fragment around the field, where they mean the same and are validated.

use async_graphql::{
    Positioned,
    parser::types::{ExecutableDocument, Field, InlineFragment, Selection, SelectionSet},
};

use super::{VALIDATION_FAILED, root_selections};
use crate::refusal::Refusal;

/// # Errors
/// `GRAPHQL_VALIDATION_FAILED` for arguments of `__typename` and selections below it.
pub fn lift(document: &mut ExecutableDocument) -> Result<(), Refusal> {
    root_selections(document).into_iter().try_for_each(lift_in)
}

fn lift_in(set: &mut SelectionSet) -> Result<(), Refusal> {
    for item in &mut set.items {
        match &mut item.node {
            Selection::Field(field) if field.node.name.node == "__typename" => {
                let wrapped = lift_field(field)?;
                item.node = wrapped;
            }
            Selection::Field(field) => lift_in(&mut field.node.selection_set.node)?,
            Selection::InlineFragment(fragment) => lift_in(&mut fragment.node.selection_set.node)?,
            Selection::FragmentSpread(_) => {}
        }
    }
    Ok(())
}

fn lift_field(field: &mut Positioned<Field>) -> Result<Selection, Refusal> {
    let refuse = |message: &str| Refusal::graphql(VALIDATION_FAILED, message, vec![field.pos]);
    if !field.node.arguments.is_empty() {
        return Err(refuse("`__typename` takes no arguments; leave them out"));
    }
    if !field.node.selection_set.node.items.is_empty() {
        return Err(refuse("`__typename` is a string and has no fields; leave them out"));
    }
    let directives = std::mem::take(&mut field.node.directives);
    if directives.is_empty() {
        return Ok(Selection::Field(field.clone()));
    }
    let inside = Positioned::new(Selection::Field(field.clone()), field.pos);
    let selection_set = Positioned::new(SelectionSet { items: vec![inside] }, field.pos);
    let fragment = InlineFragment { type_condition: None, directives, selection_set };
    Ok(Selection::InlineFragment(Positioned::new(fragment, field.pos)))
}
