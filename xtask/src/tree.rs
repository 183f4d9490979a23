//! The repository as a value: its files, its Rust source taken to pieces, and its packages.
//!
//! Checks are functions of a [`Tree`], so that each can be tried on a few lines made up for it. [`Tree::load`] reads the real
//! one: the files that git knows or would add.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    packages::{self, Packages},
    rust::SourceFile,
};

/// Everything the checks look at.
#[derive(Debug, Default)]
pub struct Tree {
    /// Text files by path, relative to the root; what is not UTF-8 is left out.
    pub texts: BTreeMap<String, String>,
    /// Paths of all files, text or not.
    pub paths: Vec<String>,
    /// The Rust source among them, in the order of paths.
    pub sources: Vec<SourceFile>,
    /// What cargo says about packages.
    pub packages: Packages,
}

impl Tree {
    /// Reads the repository of which this program is part.
    ///
    /// # Errors
    ///
    /// Where git or cargo cannot be run, or a file cannot be read.
    pub fn load() -> io::Result<Self> {
        let root = root();
        let mut texts = BTreeMap::new();
        let paths = list(&root)?;
        for path in &paths {
            if let Ok(text) = String::from_utf8(fs::read(root.join(path))?) {
                texts.insert(path.clone(), text);
            }
        }
        let mut tree = Self::of_texts(texts);
        tree.paths = paths;
        tree.packages = packages::load(&root)?;
        Ok(tree)
    }

    /// The repository, read once a process.
    pub fn shared() -> &'static Self {
        static TREE: OnceLock<Tree> = OnceLock::new();
        TREE.get_or_init(|| Self::load().expect("the repository can be read with git and cargo"))
    }

    /// A tree made up of these files, for trying a check.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let paths = texts.keys().cloned().collect();
        Self { paths, ..Self::of_texts(texts) }
    }

    fn of_texts(texts: BTreeMap<String, String>) -> Self {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs"));
        let mut sources: Vec<_> = rust.map(|(path, text)| SourceFile::parse(path, text)).collect();
        mark_test_modules(&mut sources);
        Self { texts, sources, ..Self::default() }
    }

    /// The sources of the crate in folder `crates/{name}`.
    pub fn crate_sources<'tree>(&'tree self, name: &'tree str) -> impl Iterator<Item = &'tree SourceFile> {
        self.sources
            .iter()
            .filter(move |file| file.path.starts_with("crates/") && file.crate_folder() == name)
    }

    /// The folders under `crates`.
    pub fn crate_folders(&self) -> Vec<&str> {
        let manifests =
            self.paths.iter().filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
        manifests.collect()
    }

    /// Whether there is such a file or folder.
    pub fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.paths.iter().any(|known| known == path || known.starts_with(&folder))
    }
}

/// Where the repository begins.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask is a folder in the root").to_owned()
}

/// What git tracks or would add, as long as it is still there.
fn list(root: &Path) -> io::Result<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let listing = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    let mut paths: Vec<String> = listing.split_terminator('\0').map(str::to_owned).collect();
    paths.retain(|path| root.join(path).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// A module that is declared for tests only is test code in its own file and below.
fn mark_test_modules(sources: &mut [SourceFile]) {
    let mut stems: Vec<String> = Vec::new();
    for file in &*sources {
        let folder = match file.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder,
            _ => file.path.trim_end_matches(".rs"),
        };
        stems.extend(file.test_modules.iter().map(|module| format!("{folder}/{}", module.name)));
    }
    for file in sources {
        let is_below = |stem: &String| {
            file.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if stems.iter().any(is_below) {
            file.mark_test();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_are_test_code() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "#[cfg(test)] mod fixture; mod real;"),
            ("crates/a/src/fixture.rs", "mod more; fn a() {}"),
            ("crates/a/src/fixture/more.rs", "fn b() {}"),
            ("crates/a/src/real.rs", "fn c() {}"),
        ]);
        let test: Vec<_> = tree.sources.iter().map(|file| (&*file.path, file.is_test(0))).collect();
        assert_eq!(
            test,
            [
                ("crates/a/src/fixture.rs", true),
                ("crates/a/src/fixture/more.rs", true),
                ("crates/a/src/lib.rs", true),
                ("crates/a/src/real.rs", false),
            ],
        );
    }

    #[test]
    fn folders_exist_as_far_as_they_hold_files() {
        let tree = Tree::of(&[("docs/adr/0001-a.md", "")]);
        assert!(tree.exists("docs/adr") && tree.exists("docs") && tree.exists("docs/adr/0001-a.md"));
        assert!(!tree.exists("docs/ad"));
    }

    #[test]
    fn the_repository_can_be_read() {
        let tree = Tree::shared();
        assert!(tree.crate_folders().contains(&"wire"));
        assert!(tree.sources.iter().any(|file| file.path == "xtask/src/tree.rs"));
    }
}
