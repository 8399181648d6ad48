//! Methods by name on the command line.

use nearline::embedding::{FITTED, Method};

/// A method that can be fitted, by its name.
pub(super) fn fitted(text: &str) -> Result<Method, String> {
    let method = Method::from_name(text).filter(|method| FITTED.contains(method));
    method.ok_or_else(|| {
        let names: Vec<&str> = FITTED.iter().map(|method| method.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}
