//! Paths that are read, refused and followed.

use proptest::prelude::*;

use super::*;
use crate::value::tests::{json, payload};

/// Holds what lies at a path, and what its elements are, against JSON arrays.
fn check(document: &str, path: &str, values: &str, elements: &str) {
    let (document, parsed): (_, FieldPath) = (payload(document), path.parse().unwrap());
    let found: Value = values_at(&document, &parsed).cloned().collect();
    assert_eq!(found, json(values), "values at {path}");
    let found: Value = elements_at(&document, &parsed).cloned().collect();
    assert_eq!(found, json(elements), "elements at {path}");
}

#[test]
fn paths_lead_to_values() {
    let document = r#"{
        "a": {"b": 1, "c": [2, [3, 4], {"d": 5}], "": 6},
        "l": [{"x": 1}, {"x": [2, 3]}, {"y": 4}, 5, null],
        "m": [[{"x": 1}], [{"x": 2}, {"x": 3}]],
        "a.b": {"c": 7}, "n": null, "e": []
    }"#;
    for (path, values, elements) in [
        ("a.b", "[1]", "[1]"),
        ("a.c", "[[2, [3, 4], {\"d\": 5}]]", "[2, [3, 4], {\"d\": 5}]"),
        ("a.c[]", "[2, [3, 4], {\"d\": 5}]", "[2, 3, 4, {\"d\": 5}]"),
        ("a.c[][]", "[3, 4]", "[3, 4]"),
        ("a.c[1]", "[[3, 4]]", "[3, 4]"),
        ("a.c[1][0]", "[3]", "[3]"),
        ("a.c[2].d", "[5]", "[5]"),
        ("a.c[9]", "[]", "[]"),
        ("a.\"\"", "[6]", "[6]"),
        ("l.x", "[]", "[]"),
        ("l[].x", "[1, [2, 3]]", "[1, 2, 3]"),
        ("l[1].x[0]", "[2]", "[2]"),
        ("m[].x", "[]", "[]"),
        ("m[][].x", "[1, 2, 3]", "[1, 2, 3]"),
        ("m[1][].x", "[2, 3]", "[2, 3]"),
        ("\"a.b\".c", "[7]", "[7]"),
        ("n", "[null]", "[null]"),
        ("n.x", "[]", "[]"),
        ("e", "[[]]", "[]"),
        ("e[]", "[]", "[]"),
        ("a[]", "[]", "[]"),
        ("none", "[]", "[]"),
    ] {
        check(document, path, values, elements);
    }
}

#[test]
fn what_is_no_path_is_refused_with_the_place() {
    let long = "a.".repeat(600);
    let deep = "a".to_owned() + &"[]".repeat(64);
    for (path, at, found) in [
        ("", 0, "the end"),
        ("a.", 2, "the end"),
        (".a", 0, "`.`"),
        ("a..b", 2, "`.`"),
        ("[0]", 0, "`[`"),
        ("a]", 1, "`]`"),
        ("a[0", 1, "a bracket that is never closed"),
        ("a[x]", 1, "`[x]`"),
        ("a[-1]", 1, "`[-1]`"),
        ("a[99999999999999999999]", 1, "a position that is too large"),
        ("a[0]b", 4, "`b`"),
        ("a\"b\"", 1, "`\"`"),
        ("\"a\"b", 3, "`b`"),
        ("\"a", 0, "a quote that is never closed"),
        (&long, 0, "more than 1024 bytes"),
        (&deep, 127, "more than 64 steps"),
    ] {
        let error = path.parse::<FieldPath>().unwrap_err();
        assert_eq!((error.at, error.found.as_str()), (at, found), "{path}");
    }
    let error = "a[x]".parse::<FieldPath>().unwrap_err().to_string();
    let expected = "\"a[x]\", at byte 1: `[x]`; expected `[]` or a position, \
                    as in address.street or rooms[].beds";
    assert_eq!(error, expected);
}

#[test]
fn a_path_below_elements_is_joined() {
    let join = |outer: &str, inner: &str| {
        let (outer, inner): (FieldPath, FieldPath) = (outer.parse().unwrap(), inner.parse().unwrap());
        outer.of_element(&inner).to_string()
    };
    assert_eq!(join("a", "b.c"), "a[].b.c");
    assert_eq!(join("a[]", "b[0]"), "a[].b[0]");
}

proptest! {
    #[test]
    fn any_text_is_a_path_or_refused(text in "[ab.\\[\\]\"0-9é]{0,12}") {
        if let Ok(path) = text.parse::<FieldPath>() {
            let printed = path.to_string();
            prop_assert_eq!(printed.parse(), Ok(path));
        }
    }
}
