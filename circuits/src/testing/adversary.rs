//! A prover who sets some variables as he likes and computes everything after them honestly.

use std::{collections::BTreeMap, sync::Arc};

use bn254::Fr;

use crate::r1cs::{Builder, Num, Site, Var};

/// The number of a variable and the value that the adversary gives it.
pub type Change = (usize, Fr);

/// A constraint that the values break.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The path of its site, such as `slot/low/bit`.
    pub site: Arc<str>,
    pub constraint: usize,
    /// a·b − c: by how much two numbers differ that should be equal.
    pub excess: Fr,
}

/// A builder of values only, that begins anywhere in the circuit, so that parts can be played alone.
pub struct Adversary<'a> {
    first_variable: usize,
    constraint: usize,
    changes: &'a [Change],
    path: Vec<Site>,
    pub values: Vec<Fr>,
    pub violations: Vec<Violation>,
    listing: Option<&'a mut Listing>,
}

impl<'a> Adversary<'a> {
    pub fn at((variable, constraint): (usize, usize), changes: &'a [Change]) -> Self {
        Self {
            first_variable: variable,
            constraint,
            changes,
            path: Vec::new(),
            values: Vec::new(),
            violations: Vec::new(),
            listing: None,
        }
    }

    /// Nobody cheats; all sites are noted.
    pub fn listing(listing: &'a mut Listing) -> Self {
        Self { listing: Some(listing), ..Self::at((0, 0), &[]) }
    }

    /// The numbers of the next variable and constraint.
    pub fn position(&self) -> (usize, usize) {
        (self.first_variable + self.values.len(), self.constraint)
    }

    /// A path is text, which only a list needs each time.
    fn listed_path(&self, site: Site) -> Option<Arc<str>> {
        self.listing.is_some().then(|| self.path_of(site))
    }

    fn path_of(&self, site: Site) -> Arc<str> {
        let names: Vec<&str> = self.path.iter().chain([&site]).map(|site| site.name).collect();
        names.join("/").into()
    }
}

impl Builder for Adversary<'_> {
    const ADVERSARIAL: bool = true;

    fn alloc(&mut self, site: Site, value: Fr) -> Var {
        let (number, _) = self.position();
        let path = self.listed_path(site);
        if let (Some(listing), Some(path)) = (&mut self.listing, path) {
            listing.variables.push(path);
        }
        let change = self.changes.iter().find(|(changed, _)| *changed == number);
        let value = change.map_or(value, |(_, value)| *value);
        self.values.push(value);
        Var { value, variable: None }
    }

    fn hint(&mut self, site: Site, value: Fr) -> Var {
        let (number, _) = self.position();
        if let Some(listing) = &mut self.listing {
            listing.hints.push(number);
        }
        self.alloc(site, value)
    }

    fn enforce(&mut self, site: Site, constraint: impl FnOnce() -> [Num; 3]) {
        let path = self.listed_path(site);
        if let (Some(listing), Some(path)) = (&mut self.listing, path) {
            listing.add(path, site);
        }
        let [a, b, c] = constraint().map(|side| side.value);
        let excess = a * b - c;
        if excess != Fr::default() {
            self.violations.push(Violation { site: self.path_of(site), constraint: self.constraint, excess });
        }
        self.constraint += 1;
    }

    fn enter(&mut self, site: Site) {
        self.path.push(site);
    }

    fn leave(&mut self) {
        self.path.pop();
    }
}

/// The names of a circuit's variables and constraints, by number. All batches of one circuit have the same.
#[derive(Default)]
pub struct Listing {
    pub variables: Vec<Arc<str>>,
    pub hints: Vec<usize>,
    pub constraints: Vec<Arc<str>>,
    /// Where in the source the site of a path stands.
    places: BTreeMap<Arc<str>, (&'static str, u32, u32)>,
}

impl Listing {
    /// # Panics
    /// If two places of the source have one path: switched off together, each would hide behind the other.
    fn add(&mut self, path: Arc<str>, site: Site) {
        let place = *self.places.entry(path.clone()).or_insert(site.place);
        assert_eq!(place, site.place, "two sites are called {path}");
        self.constraints.push(path);
    }

    /// All sites, with their constraints.
    pub fn sites(&self) -> BTreeMap<Arc<str>, Vec<usize>> {
        let mut sites: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (number, path) in self.constraints.iter().enumerate() {
            sites.entry(path.clone()).or_default().push(number);
        }
        sites
    }

    /// The variables of a path among `numbers`.
    pub fn named(&self, path: &str, numbers: std::ops::Range<usize>) -> Vec<usize> {
        numbers.filter(|number| &*self.variables[*number] == path).collect()
    }
}
