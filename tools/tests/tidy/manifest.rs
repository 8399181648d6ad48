//! As much of TOML as the manifests of this repository use: tables, and one key to a line.

/// A manifest's values: the table, the key, the text behind the equals sign.
#[derive(Debug)]
pub(crate) struct Manifest {
    entries: Vec<(String, String, String)>,
}

/// Where a dependency is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Part of what is shipped, or of building it.
    Normal,
    /// For tests, examples and benchmarks.
    Dev,
}

impl Manifest {
    pub(crate) fn parse(text: &str) -> Self {
        let mut table = String::new();
        let mut entries = Vec::new();
        for line in text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
            if let Some(name) = line.strip_prefix('[') {
                table = name.trim_matches(['[', ']']).trim().to_owned();
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                entries.push((table.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Self { entries }
    }

    /// The value of a key, without quotes.
    pub(crate) fn get(&self, table: &str, key: &str) -> Option<&str> {
        let found = self.entries.iter().find(|(t, k, _)| t == table && k == key);
        found.map(|(_, _, value)| value.trim_matches('"'))
    }

    /// Every value of a key in all tables of that name.
    pub(crate) fn all(&self, table: &str, key: &str) -> Vec<&str> {
        let found = self.entries.iter().filter(|(t, k, _)| t == table && k == key);
        found.map(|(_, _, value)| value.trim_matches('"')).collect()
    }

    /// All dependencies: the crate's name, its role, and what is said about it.
    pub(crate) fn dependencies(&self) -> Vec<(&str, Role, &str)> {
        let listed = self.entries.iter().filter_map(|(table, key, value)| {
            let (role, own_table) = dependency_table(table)?;
            let name = own_table.unwrap_or_else(|| key.split('.').next().unwrap_or(key));
            Some((name, role, if own_table.is_some() { key } else { value }.as_str()))
        });
        listed.collect()
    }
}

/// The role of a table of dependencies, and the crate's name if the table is about one crate.
fn dependency_table(table: &str) -> Option<(Role, Option<&str>)> {
    for (kind, role) in [
        ("dev-dependencies", Role::Dev),
        ("build-dependencies", Role::Normal),
        ("dependencies", Role::Normal),
    ] {
        // Also `target.'cfg(unix)'.dependencies`.
        let Some((before, after)) = table.split_once(kind) else { continue };
        if before.is_empty() || before.starts_with("target.") {
            return Some((role, after.strip_prefix('.')));
        }
    }
    None
}

#[test]
fn dependencies_are_found_wherever_they_stand() {
    let text = "[package]\nname = \"a\"\n[dependencies]\nb = { workspace = true } # why\nc.workspace = true\n\
                [dependencies.d]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n\
                [dev-dependencies]\n# g = \"1\"\nf = \"1\"\n[build-dependencies]\nh = \"1\"";
    let manifest = Manifest::parse(text);
    let found: Vec<_> = manifest.dependencies().into_iter().map(|(name, role, _)| (name, role)).collect();
    let expected = [
        ("b", Role::Normal),
        ("c", Role::Normal),
        ("d", Role::Normal),
        ("e", Role::Normal),
        ("f", Role::Dev),
        ("h", Role::Normal),
    ];
    assert_eq!(found, expected);
    assert_eq!(manifest.get("package", "name"), Some("a"));
}
