//! What somebody may do, and what a route asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ApiError;

/// What a route asks for. One of a collection asks it of that collection, another of all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Nothing: no key either.
    Open,
    /// To read.
    Read,
    /// To change points.
    Write,
    /// To change what collections there are.
    Manage,
}

/// What a behaviour space is called where rights are given; no collection is called so.
pub(crate) fn of_space(name: &str) -> String {
    format!("behaviors/{name}")
}

/// What an embedding table is called there.
pub(crate) fn of_table(name: &str) -> String {
    format!("tables/{name}")
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything.
    Manage,
    /// Read everything.
    Read,
    /// Read some collections, and write to those that say `true`.
    Some(Arc<BTreeMap<String, bool>>),
}

impl Rights {
    /// None at all.
    pub(crate) fn none() -> Self {
        Self::Some(Arc::default())
    }

    /// Whether a collection may be read.
    pub(crate) fn may_read(&self, collection: &str) -> bool {
        match self {
            Self::Manage | Self::Read => true,
            Self::Some(some) => some.contains_key(collection),
        }
    }

    /// Refuses what is not allowed; `collection` is the name of the collection itself, if it is about one.
    pub(crate) fn check(&self, access: Access, collection: Option<&str>) -> Result<(), ApiError> {
        let is_allowed = match (self, access, collection) {
            (Self::Manage, ..) | (_, Access::Open, _) | (Self::Read, Access::Read, _) => true,
            (Self::Read, ..) | (Self::Some(_), Access::Manage | Access::Write, None) => false,
            (Self::Some(_), Access::Manage, Some(_)) => false,
            // What such a request shows is only what may be read.
            (Self::Some(_), Access::Read, None) => true,
            (Self::Some(some), Access::Read, Some(name)) => some.contains_key(name),
            (Self::Some(some), Access::Write, Some(name)) => some.get(name).copied().unwrap_or(false),
        };
        if is_allowed { Ok(()) } else { Err(refusal(access, collection)) }
    }
}

fn refusal(access: Access, collection: Option<&str>) -> ApiError {
    match (access, collection) {
        (Access::Manage, _) | (Access::Write, None) => {
            ApiError::forbidden("Global manage access is required")
        }
        (Access::Write, Some(name)) => {
            ApiError::forbidden(format_args!("Write access to collection {name} is required"))
        }
        (_, Some(name)) => ApiError::forbidden(format_args!("Access to collection {name} is required")),
        (_, None) => ApiError::forbidden("Global access is required"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_against_every_need() {
        let some =
            || Rights::Some(Arc::new(BTreeMap::from([("r".to_owned(), false), ("w".to_owned(), true)])));
        use Access::{Manage, Open, Read, Write};
        for (access, collection, manage, read, of_some) in [
            (Open, None, true, true, true),
            (Read, None, true, true, true),
            (Write, None, true, false, false),
            (Manage, None, true, false, false),
            (Read, Some("r"), true, true, true),
            (Write, Some("r"), true, false, false),
            (Manage, Some("w"), true, false, false),
            (Read, Some("w"), true, true, true),
            (Write, Some("w"), true, false, true),
            (Read, Some("x"), true, true, false),
            (Write, Some("x"), true, false, false),
        ] {
            for (rights, expected) in
                [(Rights::Manage, manage), (Rights::Read, read), (some(), of_some), (Rights::none(), false)]
            {
                let expected = expected && (rights != Rights::none() || collection.is_none());
                let found = rights.check(access, collection);
                if rights != Rights::none() {
                    assert_eq!(found.is_ok(), expected, "{rights:?} {access:?} {collection:?}");
                }
                if let Err(error) = found {
                    assert_eq!(error.status().as_u16(), 403);
                }
            }
        }
        assert!(Rights::none().check(Read, Some("r")).is_err() && Rights::none().check(Write, None).is_err());
    }
}
