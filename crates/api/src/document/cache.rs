//! Documents that were read lately. Programs send the same few texts again and again, with other variables.
//!
//! Only what the text alone decides is kept. The library validates a document against the schema at each execution, together
//! with its variables: there is no way to hand it one that is validated already.

use std::num::NonZeroUsize;

use async_graphql::parser::types::ExecutableDocument;
use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{Bounded, Refusal, Types, complete, read};

/// Documents that are kept, and the longest of them: at most a few megabytes in all.
const KEPT: NonZeroUsize = NonZeroUsize::new(128).unwrap();
const LONGEST: usize = 4 * 1024;

pub struct Documents(Mutex<LruCache<String, ExecutableDocument>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Documents {
    /// As [`super::bound`], without reading a text again.
    ///
    /// # Errors
    /// As [`super::bound`].
    pub fn bound(
        &self,
        text: &str,
        name: Option<&str>,
        variables: Map<String, Value>,
        types: &Types,
    ) -> Result<Bounded, Refusal> {
        let kept = || self.0.lock();
        let known = kept().get(text).cloned();
        let document = match known {
            Some(document) => document,
            None => {
                let document = read(text)?;
                if text.len() <= LONGEST {
                    kept().put(text.to_owned(), document.clone());
                }
                document
            }
        };
        complete(document, name, variables, types)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_document_that_is_known_gives_the_same_with_other_variables() {
        let (documents, types) = (Documents::default(), Types::default());
        let text = "query A($a: Int! = 1) { a } query B { b }";
        let bound = |documents: &Documents, name, given: &str| {
            let bounded = documents.bound(text, Some(name), serde_json::from_str(given).unwrap(), &types);
            let bounded = bounded.map_err(|refusal| refusal.code())?;
            let operations = bounded.document.operations.iter().map(|named| format!("{named:?}"));
            Ok::<_, &str>((operations.collect::<BTreeSet<_>>(), bounded.variables))
        };
        for (name, given) in [("A", "{}"), ("A", r#"{"a": 2}"#), ("B", "{}"), ("C", "{}")] {
            let fresh = bound(&Documents::default(), name, given);
            assert_eq!(bound(&documents, name, given), fresh, "{name} {given}");
            assert_eq!(bound(&documents, name, given), fresh, "{name} {given}");
        }
        assert_eq!(documents.0.lock().len(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (documents, types) = (Documents::default(), Types::default());
        for i in 0..KEPT.get() * 2 {
            documents.bound(&format!("{{a{i}}}"), None, Map::new(), &types).unwrap();
        }
        let long = format!("{{a}}#{}", "x".repeat(LONGEST));
        documents.bound(&long, None, Map::new(), &types).unwrap();
        assert!(documents.bound("{", None, Map::new(), &types).is_err());
        let kept = documents.0.lock();
        assert_eq!(kept.len(), KEPT.get());
        assert!(kept.iter().all(|(text, _)| text.len() <= LONGEST));
    }
}
