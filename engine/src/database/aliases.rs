//! Other names of collections.

use std::collections::BTreeMap;

use super::{Database, check_name, locked};
use crate::catalog::Catalog;
use crate::error::OpenError;

/// A change of the aliases of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliasChange {
    /// Another name for a collection; if it is that of another one, it moves.
    Set {
        /// The other name.
        alias: String,
        /// The collection, by its name or an alias.
        collection: String,
    },
    /// The alias goes, the collection stays.
    Drop {
        /// The alias.
        alias: String,
    },
    /// The alias is called something else from now on.
    Rename {
        /// What it was called.
        from: String,
        /// What it will be called. If that is an alias, it is replaced.
        to: String,
    },
}

impl Database {
    /// Makes another name for a collection, or moves it there from another one: in one step, so that whoever opens it by
    /// the alias finds the old one or the new one.
    ///
    /// # Errors
    /// When there is no such collection, one has this name, it cannot be one, or the disk fails.
    pub fn set_alias(&self, alias: &str, collection: &str) -> Result<(), OpenError> {
        let (alias, collection) = (alias.to_owned(), collection.to_owned());
        self.change_aliases(&[AliasChange::Set { alias, collection }])
    }

    /// Removes an alias; the collection stays.
    ///
    /// # Errors
    /// When there is none of this name, or the disk fails.
    pub fn drop_alias(&self, alias: &str) -> Result<(), OpenError> {
        self.change_aliases(&[AliasChange::Drop { alias: alias.to_owned() }])
    }

    /// Makes several changes, each on what those before it left, all in one step or none.
    ///
    /// # Errors
    /// As [`Database::set_alias`] and [`Database::drop_alias`], for the first change that cannot be made.
    pub fn change_aliases(&self, changes: &[AliasChange]) -> Result<(), OpenError> {
        let mut catalog = locked(&self.inner.catalog);
        let mut next = catalog.clone();
        changes.iter().try_for_each(|change| next.change(change))?;
        self.inner.adopt(&mut catalog, |catalog| *catalog = next)
    }

    /// All aliases with the names of their collections.
    pub fn aliases(&self) -> BTreeMap<String, String> {
        locked(&self.inner.catalog).aliases.clone()
    }
}

impl Catalog {
    fn change(&mut self, change: &AliasChange) -> Result<(), OpenError> {
        match change {
            AliasChange::Set { alias, collection } => {
                self.check_alias(alias)?;
                let target = self.resolve(collection)?.0.to_owned();
                self.aliases.insert(alias.clone(), target);
            }
            AliasChange::Drop { alias } => {
                self.take(alias)?;
            }
            AliasChange::Rename { from, to } => {
                self.check_alias(to)?;
                let target = self.take(from)?;
                self.aliases.insert(to.clone(), target);
            }
        }
        Ok(())
    }

    fn check_alias(&self, alias: &str) -> Result<(), OpenError> {
        check_name("alias", alias)?;
        match self.collections.contains_key(alias) {
            true => Err(OpenError::Exists { what: "collection", name: alias.to_owned() }),
            false => Ok(()),
        }
    }

    fn take(&mut self, alias: &str) -> Result<String, OpenError> {
        let missing = || OpenError::Missing { what: "alias", name: alias.to_owned() };
        self.aliases.remove(alias).ok_or_else(missing)
    }
}
