//! The table of routes. Router, rights and document are made of it: none can have a route that the others lack.

use std::collections::HashMap;

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter};

use crate::app::App;
use crate::rights::Access;

/// Routes by path.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Route>);

#[derive(Debug)]
struct Route {
    path: String,
    endpoint: Endpoint,
}

/// What answers at a path: one operation for each of its methods.
#[derive(Debug)]
pub(crate) struct Endpoint {
    operations: Vec<Operation>,
    router: MethodRouter<App>,
}

/// What one method does.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) access: Access,
    pub(crate) body: Body,
    /// What it does, in words.
    pub(crate) summary: &'static str,
}

/// What a request has behind its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing that is looked at.
    None,
    /// JSON; the members of the object, as far as they are known.
    Json(&'static [&'static str]),
    /// JSON with these members, or bytes of one of these kinds.
    Either(&'static [&'static str], &'static [&'static str]),
    /// Bytes of one of these kinds.
    Other(&'static [&'static str]),
}

impl Endpoint {
    /// One method.
    pub(crate) fn new(method: MethodFilter, access: Access, body: Body, router: MethodRouter<App>) -> Self {
        let operation = Operation { method: named(method), access, body, summary: "" };
        Self { operations: vec![operation], router }
    }

    /// Something that only refuses, whatever the method. It is not in the document.
    pub(crate) fn refusing(router: MethodRouter<App>) -> Self {
        Self { operations: Vec::new(), router }
    }

    /// The methods of both.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// The same, for those that may do this.
    pub(crate) fn needs(mut self, access: Access) -> Self {
        self.operations.iter_mut().for_each(|operation| operation.access = access);
        self
    }

    /// The same, with what it does, for the document.
    pub(crate) fn says(mut self, summary: &'static str) -> Self {
        self.operations.iter_mut().for_each(|operation| operation.summary = summary);
        self
    }
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn route(mut self, path: impl Into<String>, endpoint: Endpoint) -> Self {
        self.0.push(Route { path: path.into(), endpoint });
        self
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// All operations, each with its path.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&str, &Operation)> {
        self.0.iter().flat_map(|route| {
            route.endpoint.operations.iter().map(|operation| (route.path.as_str(), operation))
        })
    }

    pub(crate) fn into_router(self) -> Router<App> {
        let add = |router: Router<App>, route: Route| router.route(&route.path, route.endpoint.router);
        self.0.into_iter().fold(Router::new(), add)
    }
}

/// What each operation asks for, by path and method.
#[derive(Debug, Default)]
pub(crate) struct Needs(HashMap<String, Vec<(Method, Access)>>);

impl Needs {
    pub(crate) fn of<'a>(operations: impl IntoIterator<Item = (&'a str, &'a Operation)>) -> Self {
        let mut needs: HashMap<String, Vec<(Method, Access)>> = HashMap::new();
        for (path, operation) in operations {
            needs.entry(path.to_owned()).or_default().push((operation.method.clone(), operation.access));
        }
        Self(needs)
    }

    /// What a request asks for. Where nothing but a refusal is to be had, the right to read will do.
    pub(crate) fn access(&self, path: &str, method: &Method) -> Access {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let of_path = self.0.get(path).map_or(&[][..], Vec::as_slice);
        of_path.iter().find(|(known, _)| known == method).map_or(Access::Read, |(_, access)| *access)
    }
}

fn named(method: MethodFilter) -> Method {
    let methods = [
        (MethodFilter::POST, Method::POST),
        (MethodFilter::PUT, Method::PUT),
        (MethodFilter::PATCH, Method::PATCH),
        (MethodFilter::DELETE, Method::DELETE),
    ];
    methods.into_iter().find(|(filter, _)| *filter == method).map_or(Method::GET, |(_, method)| method)
}
