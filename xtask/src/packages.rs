//! What `cargo metadata` says: packages, their licences, and who depends on whom.
//!
//! Only what is built on this kind of machine is seen; packages for other systems are not even fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// Why a package depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It is part of what is built.
    Normal,
    /// Its tests, examples or benchmarks need it.
    Dev,
    /// Its build script needs it.
    Build,
}

/// A package, ours or not.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// The folder of a package of ours, relative to the root.
    pub folder: Option<String>,
    /// The manifest's dependencies by package name, with the names of the features asked for.
    pub manifest: Vec<(String, Use, Vec<String>)>,
    /// What was chosen for those of them that are built here: identities of packages.
    pub chosen: BTreeSet<(String, Use)>,
}

/// All packages, by cargo's identity.
#[derive(Clone, Debug, Default)]
pub struct Packages(pub BTreeMap<String, Package>);

impl Packages {
    /// Those of this workspace.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.0.values().filter(|package| package.folder.is_some())
    }

    /// Identities of all that our crates are made of: what users get, without xtask, tests and build tools.
    pub fn shipped(&self) -> BTreeSet<&str> {
        let is_shipped =
            |package: &Package| package.folder.as_deref().is_some_and(|folder| folder.starts_with("crates/"));
        let mut open: Vec<&str> =
            self.0.iter().filter(|(_, package)| is_shipped(package)).map(|(id, _)| id.as_str()).collect();
        let mut seen: BTreeSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            let Some(package) = self.0.get(id) else { continue };
            let next =
                package.chosen.iter().filter(|(_, why)| *why == Use::Normal).map(|(id, _)| id.as_str());
            open.extend(next.filter(|id| seen.insert(id)));
        }
        seen
    }
}

/// Asks cargo, without the network if it can answer so.
///
/// # Errors
///
/// Where cargo cannot be run or refuses.
pub fn load(root: &Path) -> io::Result<Packages> {
    let host = host()?;
    let ask = |flags: &[&str]| -> io::Result<Output> {
        let common = ["metadata", "--format-version=1", "--locked", "--filter-platform", &host];
        Command::new(cargo()).args(common).args(flags).current_dir(root).output()
    };
    let mut output = ask(&["--offline"])?;
    if !output.status.success() {
        output = ask(&[])?;
    }
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    Ok(read(&metadata))
}

/// The cargo that runs us, or the one in the path.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The triple of this host, as the compiler names it.
///
/// # Errors
///
/// Where the compiler cannot be run.
pub fn host() -> io::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| io::Error::other("rustc -vV names no host"))
}

/// Takes cargo's answer to pieces; what it lacks is empty.
pub fn read(metadata: &Value) -> Packages {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut packages: BTreeMap<String, Package> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), read_package(package, root)))
        .collect();
    let manifests: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    for node in list(&metadata["resolve"]["nodes"]) {
        let id = text(&node["id"]);
        let Some(package) = packages.get_mut(&id) else { continue };
        let unused = unused_options(&manifests[&id], &node);
        for dependency in
            list(&node["deps"]).iter().filter(|dependency| !unused.contains(&text(&dependency["name"])))
        {
            for kind in list(&dependency["dep_kinds"]) {
                package.chosen.insert((text(&dependency["pkg"]), read_use(&kind["kind"])));
            }
        }
    }
    Packages(packages)
}

fn read_package(package: &Value, root: &str) -> Package {
    let manifest_path = text(&package["manifest_path"]);
    let is_ours = package["source"].is_null();
    let folder = manifest_path.strip_prefix(root).and_then(|path| path.strip_suffix("/Cargo.toml"));
    let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let features = |dependency: &Value| {
        let mut named: Vec<String> =
            dependency["features"].as_array().into_iter().flatten().map(text).collect();
        if dependency["uses_default_features"] == true {
            named.push("default".to_owned());
        }
        named
    };
    Package {
        name: text(&package["name"]),
        version: text(&package["version"]),
        license: package["license"].as_str().map(str::to_owned),
        folder: folder.filter(|_| is_ours).map(|folder| folder.trim_start_matches('/').to_owned()),
        manifest: dependencies
            .iter()
            .map(|dependency| {
                (text(&dependency["name"]), read_use(&dependency["kind"]), features(dependency))
            })
            .collect(),
        chosen: BTreeSet::new(),
    }
}

/// Optional dependencies that cargo resolves and does not build, by the name they have in code: `option?/feature` alone
/// makes it do so.
fn unused_options(manifest: &Value, node: &Value) -> BTreeSet<String> {
    let name_in_code = |name: String| name.replace('-', "_");
    let enabled = node["features"].as_array().into_iter().flatten().map(text);
    let causes =
        enabled.flat_map(|feature| manifest["features"][feature].as_array().cloned().unwrap_or_default());
    let used: BTreeSet<String> = causes
        .filter_map(|cause| {
            let cause = text(&cause);
            let of_feature =
                cause.split_once('/').map(|(option, _)| option).filter(|option| !option.ends_with('?'));
            cause.strip_prefix("dep:").or(of_feature).map(|option| name_in_code(option.to_owned()))
        })
        .collect();
    let dependencies = manifest["dependencies"].as_array().into_iter().flatten();
    let optional = dependencies.filter(|dependency| dependency["optional"] == true);
    let names = optional.map(|dependency| {
        name_in_code(dependency["rename"].as_str().map_or_else(|| text(&dependency["name"]), str::to_owned))
    });
    names.filter(|name| !used.contains(name)).collect()
}

fn read_use(kind: &Value) -> Use {
    match kind.as_str() {
        Some("dev") => Use::Dev,
        Some("build") => Use::Build,
        _ => Use::Normal,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_need_is_not_shipped() {
        let metadata = serde_json::json!({
            "workspace_root": "/r",
            "packages": [
                {"id": "us", "name": "us", "version": "0.1.0", "source": null, "manifest_path": "/r/crates/us/Cargo.toml"},
                {"id": "a", "name": "a", "version": "1.0.0", "source": "registry", "manifest_path": "/c/a/Cargo.toml"},
                {"id": "b", "name": "b", "version": "1.0.0", "source": "registry", "manifest_path": "/c/b/Cargo.toml"},
                {"id": "c", "name": "c", "version": "1.0.0", "source": "registry", "manifest_path": "/c/c/Cargo.toml"},
            ],
            "resolve": {"nodes": [
                {"id": "us", "deps": [
                    {"pkg": "a", "dep_kinds": [{"kind": null}]},
                    {"pkg": "c", "dep_kinds": [{"kind": "dev"}]},
                ]},
                {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": null}]}]},
            ]},
        });
        let packages = read(&metadata);
        assert_eq!(packages.shipped().into_iter().collect::<Vec<_>>(), ["a", "b", "us"]);
        assert_eq!(packages.0["us"].folder.as_deref(), Some("crates/us"));
    }

    #[test]
    fn options_that_no_feature_turns_on_are_not_built() {
        let manifest = serde_json::json!({
            "features": {"default": ["std"], "std": ["a?/std", "dep:b", "c/std"], "other": ["dep:a"]},
            "dependencies": [
                {"name": "long", "rename": "a", "optional": true},
                {"name": "b", "optional": true},
                {"name": "c", "optional": true},
                {"name": "d-e", "optional": true},
                {"name": "f", "optional": false},
            ],
        });
        let node = serde_json::json!({"features": ["default", "std"]});
        assert_eq!(unused_options(&manifest, &node).into_iter().collect::<Vec<_>>(), ["a", "d_e"]);
    }
}
