//! Names of constraints, for the tests that switch each of them off.
//!
//! Everything that allocates or enforces takes a `Site`, so a constraint without a name does not compile. `site!` notes where in
//! the source it stands: the tests list every site that a circuit meets and refuse two places under one name. Outside of this
//! crate's own tests a `Site` is empty and costs nothing.

/// A name in the gadget that uses it. Names of the gadgets around it make it a path, such as `slot/low/bit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    #[cfg(test)]
    pub(crate) name: &'static str,
    /// File, line and column.
    #[cfg(test)]
    pub(crate) place: (&'static str, u32, u32),
}

impl Site {
    /// Use `site!`.
    #[cfg(test)]
    pub const fn new(name: &'static str, place: (&'static str, u32, u32)) -> Self {
        Self { name, place }
    }

    /// Use `site!`.
    #[cfg(not(test))]
    pub const fn new(_name: &'static str, _place: (&'static str, u32, u32)) -> Self {
        Self {}
    }
}

/// The `Site` of this name at this place.
macro_rules! site {
    ($name:literal) => {
        const { $crate::r1cs::Site::new($name, (file!(), line!(), column!())) }
    };
}
pub(crate) use site;
