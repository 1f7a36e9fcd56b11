//! What an answer looks like: its keys in the order of the request, and null where the schema allows it.
//!
//! The library answers fields in the order in which they are ready, leaves a field out that failed, and answers null for an
//! object all of whose fields were skipped. The specification wants the order of the request (§6.3.2), null for a nullable field
//! that failed and for the parent of one that is not nullable (§6.4.4), and `{}`. A value of the type `Int` has 32 bits (§3.5.1).

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, PathSegment, Positioned, ServerError, Value as ConstValue,
    parser::{
        parse_schema,
        types::{
            BaseType, Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
            SelectionSet, Type, TypeKind, TypeSystemDefinition,
        },
    },
};
use serde_json::{Map, Value};

use super::{VALIDATION_FAILED, root_selections};
use crate::refusal::Refusal;

/// The types of the fields of a schema's objects. What is not in it, as introspection, is taken as it comes.
#[derive(Debug, Default)]
pub struct Types {
    objects: HashMap<Name, HashMap<Name, Type>>,
    query: Option<Name>,
    mutation: Option<Name>,
}

impl Types {
    /// Of a schema in its definition language; nothing is known of text that is none.
    pub fn of(sdl: &str) -> Self {
        let mut types = Self::default();
        for definition in parse_schema(sdl).map(|schema| schema.definitions).unwrap_or_default() {
            match definition {
                TypeSystemDefinition::Schema(schema) => {
                    types.query = schema.node.query.map(|name| name.node);
                    types.mutation = schema.node.mutation.map(|name| name.node);
                }
                TypeSystemDefinition::Type(definition) => {
                    if let TypeKind::Object(object) = definition.node.kind {
                        let fields = object.fields.into_iter().map(|field| field.node);
                        let fields = fields.map(|field| (field.name.node, field.ty.node)).collect();
                        types.objects.insert(definition.node.name.node, fields);
                    }
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        types
    }

    fn root(&self, operation: OperationType) -> Option<&Name> {
        match operation {
            OperationType::Query => self.query.as_ref(),
            OperationType::Mutation => self.mutation.as_ref(),
            OperationType::Subscription => None,
        }
    }

    fn field(&self, object: Option<&Name>, field: &Name) -> Option<&Type> {
        self.objects.get(object?)?.get(field)
    }
}

fn base_name(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base_name(inner),
    }
}

/// The keys of an object in the order of the request; of a scalar none at all.
#[derive(Debug, Default)]
pub struct Shape {
    fields: Option<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    key: Name,
    ty: Option<Type>,
    shape: Shape,
}

impl Shape {
    /// Of the answer to an operation.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` or `GRAPHQL_VALIDATION_FAILED` for a condition that is neither true nor false.
    pub fn of(
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Map<String, Value>,
        types: &Types,
    ) -> Result<Self, Refusal> {
        let root = types.root(operation.ty);
        Collector { document, operation, variables, types }.collect(&[&operation.selection_set.node], root)
    }

    /// Brings an answer into this shape. Adds an error for each number that is no `Int`.
    pub fn arrange(&self, data: ConstValue, errors: &mut Vec<ServerError>) -> ConstValue {
        Arranger { path: Vec::new(), errors }.value(self, None, data).unwrap_or_default()
    }
}

/// Collects the fields of a request (§6.3.2). Every fragment has been measured: it ends, and not too deep.
struct Collector<'a> {
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Map<String, Value>,
    types: &'a Types,
}

/// The fields of one object by their keys.
#[derive(Default)]
struct Groups<'a> {
    order: Vec<(&'a Name, Vec<&'a Field>)>,
    places: HashMap<&'a Name, usize>,
    visited: HashSet<&'a Name>,
}

impl<'a> Collector<'a> {
    fn collect(&self, sets: &[&'a SelectionSet], object: Option<&Name>) -> Result<Shape, Refusal> {
        let mut groups = Groups::default();
        for set in sets {
            self.gather(set, &mut groups)?;
        }
        let entry = |(key, fields): (&'a Name, Vec<&'a Field>)| {
            let ty = fields.first().and_then(|field| self.types.field(object, &field.name.node));
            let sets = fields.iter().map(|field| &field.selection_set.node);
            let sets: Vec<_> = sets.filter(|set| !set.items.is_empty()).collect();
            let shape =
                if sets.is_empty() { Shape::default() } else { self.collect(&sets, ty.map(base_name))? };
            Ok(Entry { key: key.clone(), ty: ty.cloned(), shape })
        };
        let fields = groups.order.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Shape { fields: Some(fields) })
    }

    fn gather(&self, set: &'a SelectionSet, groups: &mut Groups<'a>) -> Result<(), Refusal> {
        for item in &set.items {
            if !self.is_included(item.node.directives())? {
                continue;
            }
            match &item.node {
                Selection::Field(field) => {
                    let key = &field.node.response_key().node;
                    let place = *groups.places.entry(key).or_insert_with(|| {
                        groups.order.push((key, Vec::new()));
                        groups.order.len() - 1
                    });
                    groups.order[place].1.push(&field.node);
                }
                Selection::InlineFragment(fragment) => {
                    self.gather(&fragment.node.selection_set.node, groups)?;
                }
                // No type of ours is abstract: a fragment that is valid applies.
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name);
                    if let Some(fragment) = fragment.filter(|_| groups.visited.insert(name)) {
                        self.gather(&fragment.node.selection_set.node, groups)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// By `@skip` and `@include`. The library takes whatever it cannot read for false.
    fn is_included(&self, directives: &[Positioned<Directive>]) -> Result<bool, Refusal> {
        for directive in directives {
            let wanted = match directive.node.name.node.as_str() {
                "include" => true,
                "skip" => false,
                _ => continue,
            };
            let Some(condition) = directive.node.get_argument("if") else { continue };
            let refuse = |code, message: String| Err(Refusal::graphql(code, message, vec![condition.pos]));
            let given =
                condition.node.clone().into_const_with(|name| match self.variables.get(name.as_str()) {
                    Some(Value::Bool(given)) if !self.may_be_null(&name) => Ok(ConstValue::Boolean(*given)),
                    _ => Err(name),
                });
            match given {
                Ok(ConstValue::Boolean(given)) if given != wanted => return Ok(false),
                Ok(ConstValue::Boolean(_)) => {}
                Ok(_) => {
                    let message = "a condition is true or false; send one of them".to_owned();
                    return refuse(VALIDATION_FAILED, message);
                }
                Err(name) if self.may_be_null(&name) => {
                    let message =
                        format!("the variable ${name} of a condition has the type Boolean! or a default");
                    return refuse(VALIDATION_FAILED, message);
                }
                Err(name) => {
                    let message =
                        format!("the variable ${name} stands in a condition; send true or false in it");
                    return refuse("BAD_USER_INPUT", message);
                }
            }
        }
        Ok(true)
    }

    /// Whether a variable is of a nullable type without a default (§5.8.5).
    fn may_be_null(&self, name: &Name) -> bool {
        let definition =
            self.operation.variable_definitions.iter().find(|known| known.node.name.node == *name);
        definition
            .is_some_and(|known| known.node.var_type.node.nullable && known.node.default_value.is_none())
    }
}

struct Arranger<'a> {
    path: Vec<PathSegment>,
    errors: &'a mut Vec<ServerError>,
}

impl Arranger<'_> {
    /// Nothing if the value is null and its type forbids it.
    fn value(&mut self, shape: &Shape, ty: Option<&Type>, value: ConstValue) -> Option<ConstValue> {
        let done = match value {
            ConstValue::Null => None,
            ConstValue::List(items) => {
                let inner = ty.and_then(|ty| match &ty.base {
                    BaseType::List(inner) => Some(&**inner),
                    BaseType::Named(_) => None,
                });
                let items = items.into_iter().enumerate();
                let items = items.map(|(place, item)| {
                    self.below(PathSegment::Index(place), |this| this.value(shape, inner, item))
                });
                items.collect::<Option<Vec<_>>>().map(ConstValue::List)
            }
            ConstValue::Object(mut object) => match &shape.fields {
                None => Some(ConstValue::Object(object)),
                Some(fields) => {
                    let entries = fields.iter().filter_map(|entry| {
                        let value = object.swap_remove(&entry.key);
                        // A field that failed is not there.
                        let value = value.or(entry.ty.is_some().then_some(ConstValue::Null))?;
                        let value = self.below(PathSegment::Field(entry.key.to_string()), |this| {
                            this.value(&entry.shape, entry.ty.as_ref(), value)
                        });
                        Some(value.map(|value| (entry.key.clone(), value)))
                    });
                    entries.collect::<Option<_>>().map(ConstValue::Object)
                }
            },
            ConstValue::Number(number) if ty.is_some_and(is_int) && !fits_int(&number) => {
                let mut error =
                    ServerError::new(format!("{number} does not fit an Int; tell the operator"), None);
                error.extensions.get_or_insert_default().set("code", "INT_OUT_OF_RANGE");
                error.path = self.path.clone();
                self.errors.push(error);
                None
            }
            scalar => Some(scalar),
        };
        done.or_else(|| ty.is_none_or(|ty| ty.nullable).then_some(ConstValue::Null))
    }

    fn below<T>(&mut self, segment: PathSegment, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let outcome = walk(self);
        self.path.pop();
        outcome
    }
}

fn is_int(ty: &Type) -> bool {
    matches!(&ty.base, BaseType::Named(name) if name == "Int")
}

fn fits_int(number: &async_graphql::Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

/// Adds a field without a name to every object, so that the library answers `{}` and not null for one without others. It is in
/// no shape, so it is in no answer.
pub fn keep_objects(document: &mut ExecutableDocument) {
    for set in root_selections(document) {
        keep_below(set);
    }
}

fn keep_below(set: &mut SelectionSet) {
    for item in &mut set.items {
        match &mut item.node {
            Selection::Field(field) => keep_below(&mut field.node.selection_set.node),
            Selection::InlineFragment(fragment) => keep_below(&mut fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => {}
        }
    }
    let Some(pos) = set.items.first().map(|item| item.pos) else { return };
    let field = Field {
        alias: Some(Positioned::new(Name::new(""), pos)),
        name: Positioned::new(Name::new("__typename"), pos),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::default(),
    };
    set.items.push(Positioned::new(Selection::Field(Positioned::new(field, pos)), pos));
}
