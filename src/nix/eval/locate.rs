//! The line of the flake on which the text of a warning stands.
//!
//! Nix tells no place with `lib.warn` or `builtins.warn`, and the text is most often written out
//! in the flake itself. Where it stands in exactly one line of the flake's own files, that is its
//! place; where it stands in none or in several, it has none.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::domain::build::{SourcePlace, Warning};
use crate::domain::id::StorePath;

/// What was found in the sources that were looked at last: hosts share their warnings.
#[derive(Clone, Debug, Default)]
pub(super) struct Located(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    source: Option<StorePath>,
    places: HashMap<String, Option<SourcePlace>>,
}

/// Characters of a message that are looked for, and how many there must be.
const LONGEST: usize = 40;
const SHORTEST: usize = 12;
/// What is looked through at most: files, bytes of each, levels of folders.
const MOST_FILES: usize = 2_000;
const LARGEST: u64 = 512 << 10;
const DEEPEST: usize = 12;
/// Messages that are remembered.
const MOST: usize = 200;

impl Located {
    /// Gives these warnings the places where their texts stand in the sources.
    pub(super) async fn tell(&self, source: Option<&StorePath>, warnings: &mut [Vec<Warning>]) {
        let Some(source) = source else { return };
        let mut known = self.0.lock().await;
        if known.source.as_ref() != Some(source) {
            *known = Known { source: Some(source.clone()), places: HashMap::new() };
        }
        let placeless = || warnings.iter().flatten().filter(|it| it.place.is_none());
        let unknown: Vec<String> = placeless()
            .filter_map(|it| needle(&it.message))
            .filter(|it| !known.places.contains_key(it))
            .take(MOST.saturating_sub(known.places.len()))
            .collect();
        if !unknown.is_empty() {
            let found = search(Path::new(source.as_str()), &unknown).await;
            known.places.extend(unknown.into_iter().zip(found));
        }
        for it in warnings.iter_mut().flatten().filter(|it| it.place.is_none()) {
            it.place = needle(&it.message).and_then(|it| known.places.get(&it).cloned().flatten());
        }
    }
}

/// What is looked for; `None` of a message that is too short to be told from others.
fn needle(message: &str) -> Option<String> {
    let start: String = message.chars().take(LONGEST).collect();
    (start.chars().count() >= SHORTEST).then(|| start.trim_end().to_owned())
}

/// Where each text stands, if in one line alone. A folder or file that cannot be read has none.
async fn search(root: &Path, wanted: &[String]) -> Vec<Option<SourcePlace>> {
    let mut found: Vec<Vec<SourcePlace>> = vec![Vec::new(); wanted.len()];
    let mut files = 0;
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for (path, kind) in entries(&folder).await {
            if kind.is_dir() && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|it| it == "nix") {
                files += 1;
                if files > MOST_FILES {
                    return vec![None; wanted.len()];
                }
                if let Some(text) = read(&path).await {
                    note(&text, path.strip_prefix(root).unwrap_or(&path), wanted, &mut found);
                }
            }
        }
    }
    let only = |mut places: Vec<SourcePlace>| (places.len() == 1).then(|| places.remove(0));
    found.into_iter().map(only).collect()
}

fn note(text: &str, path: &Path, wanted: &[String], found: &mut [Vec<SourcePlace>]) {
    let Some(path) = path.to_str() else { return };
    for (line, number) in text.lines().zip(1_u32..) {
        for (needle, places) in wanted.iter().zip(found.iter_mut()) {
            if line.contains(needle.as_str()) {
                places.push(SourcePlace { path: path.to_owned(), line: number });
            }
        }
    }
}

/// Of a folder, without links and what is hidden.
async fn entries(folder: &Path) -> Vec<(PathBuf, std::fs::FileType)> {
    let mut all = Vec::new();
    let Ok(mut listing) = tokio::fs::read_dir(folder).await else { return all };
    while let Ok(Some(entry)) = listing.next_entry().await {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if let Ok(kind) = entry.file_type().await
            && !hidden
        {
            all.push((entry.path(), kind));
        }
    }
    all
}

async fn read(path: &Path) -> Option<String> {
    let size = tokio::fs::metadata(path).await.ok()?.len();
    if size > LARGEST {
        return None;
    }
    tokio::fs::read_to_string(path).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_that_stands_once_is_the_place_and_one_that_stands_twice_is_none() {
        let store = tempfile::tempdir().unwrap();
        let root = store.path().join("0rwb6i8i6v1iqfi2pn3q3k9isl7hcrgv-source");
        std::fs::create_dir_all(root.join("hosts")).unwrap();
        let once = "{ lib, ... }:\n\nlib.warn \"the old thing is going away\" { }\n";
        std::fs::write(root.join("hosts/a.nix"), once).unwrap();
        std::fs::write(root.join("b.nix"), "lib.warn \"said in two places\" 1\n").unwrap();
        std::fs::write(root.join("c.nix"), "lib.warn \"said in two places\" 2\n").unwrap();
        std::fs::write(root.join("d.txt"), "the old thing is going away").unwrap();
        let source: StorePath = root.to_str().unwrap().parse().unwrap();
        let warning = |message: &str| Warning { message: message.to_owned(), place: None };
        let mut all = [
            vec![warning("the old thing is going away"), warning("said in two places")],
            vec![warning("short"), warning("of another program altogether")],
        ];
        Located::default().tell(Some(&source), &mut all).await;
        let places: Vec<_> = all.iter().flatten().map(|it| it.place.clone()).collect();
        let place = SourcePlace { path: "hosts/a.nix".into(), line: 3 };
        assert_eq!(places, [Some(place), None, None, None]);
    }
}
