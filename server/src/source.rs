//! What a read is of: a collection as it is, or as a snapshot keeps it.

use nearline::{
    Collection, Facet, FacetHit, Filter, Groups, GroupsAnswer, Matrix, MatrixAnswer, Page, Point, PointId,
    Query, QueryAnswer, QueryError, Schema, Scroll, Version,
};

/// A collection of some moment.
#[derive(Debug)]
pub(crate) enum Source {
    /// As it is now.
    Now(Collection),
    /// As it was; with the name of the collection.
    Then(Version, String),
}

impl Source {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Now(collection) => collection.name(),
            Self::Then(_, name) => name.clone(),
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        match self {
            Self::Now(collection) => collection.schema(),
            Self::Then(version, _) => version.schema(),
        }
    }

    pub(crate) fn get(&self, ids: impl IntoIterator<Item = PointId>) -> Result<Vec<Point>, QueryError> {
        match self {
            Self::Now(collection) => collection.get(ids),
            Self::Then(version, _) => version.get(ids),
        }
    }

    /// Without vectors, where that is less to read.
    pub(crate) fn get_payloads(&self, ids: Vec<PointId>) -> Result<Vec<Point>, QueryError> {
        match self {
            Self::Now(collection) => collection.get_payloads(ids),
            Self::Then(version, _) => version.get(ids),
        }
    }

    pub(crate) fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
        match self {
            Self::Now(collection) => collection.scroll(scroll),
            Self::Then(version, _) => version.scroll(scroll),
        }
    }

    pub(crate) fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError> {
        match self {
            Self::Now(collection) => collection.count(filter),
            Self::Then(version, _) => version.count(filter),
        }
    }

    pub(crate) fn query_batch(&self, queries: &[Query]) -> Result<Vec<QueryAnswer>, QueryError> {
        match self {
            Self::Now(collection) => collection.query_batch(queries),
            Self::Then(version, _) => version.query_batch(queries),
        }
    }

    pub(crate) fn query_groups(&self, groups: &Groups) -> Result<GroupsAnswer, QueryError> {
        match self {
            Self::Now(collection) => collection.query_groups(groups),
            Self::Then(version, _) => version.query_groups(groups),
        }
    }

    pub(crate) fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError> {
        match self {
            Self::Now(collection) => collection.facet(facet),
            Self::Then(version, _) => version.facet(facet),
        }
    }

    pub(crate) fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError> {
        match self {
            Self::Now(collection) => collection.matrix(matrix),
            Self::Then(version, _) => version.matrix(matrix),
        }
    }
}
