//! Reads what a build has made, and nothing else: links are followed within the store alone.
//!
//! A store path's files were written by whoever wrote the commit. A link in it may point to any
//! place of this machine; here it is then as good as not there.
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use crate::domain::id::StorePath;

/// Links in a row before they are taken for a circle, as the kernel does.
const MOST_LINKS: usize = 40;

/// One store, as it is on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    store: PathBuf,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// A file or folder of the store, without links on its way.
    To(PathBuf),
    Nowhere,
    /// Out of the store: to this place, which is not looked at.
    Outside(PathBuf),
}

impl Inside {
    /// The store of this path.
    pub(crate) fn store_of(path: &StorePath) -> Self {
        Self { store: PathBuf::from(path.store()) }
    }

    /// Follows the links on the way of a path.
    pub(crate) fn resolve(&self, path: &Path) -> io::Result<Leads> {
        let mut left: Vec<PathBuf> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == Path::new("..") {
                at.pop();
                continue;
            }
            at.push(part);
            // Above the store are folders of the machine's owner.
            if self.store.starts_with(&at) {
                continue;
            }
            if !at.starts_with(&self.store) {
                left.iter().rev().for_each(|it| at.push(it));
                return Ok(Leads::Outside(at));
            }
            let target = match at.symlink_metadata() {
                Ok(found) if found.is_symlink() => std::fs::read_link(&at)?,
                Ok(_) => continue,
                Err(error) if is_absence(&error) => return Ok(Leads::Nowhere),
                Err(error) => return Err(error),
            };
            links += 1;
            if links > MOST_LINKS {
                return Ok(Leads::Nowhere);
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(if at == self.store || !at.starts_with(&self.store) {
            Leads::Outside(at)
        } else {
            Leads::To(at)
        })
    }

    /// Where a path leads, if that is in the store.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        Ok(match self.resolve(path)? {
            Leads::To(found) => Some(found),
            Leads::Nowhere | Leads::Outside(_) => None,
        })
    }
}

/// A file's text; `None` when it is no file or longer than `most` bytes. What is not UTF-8 becomes
/// U+FFFD.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<String>> {
    let found = path.symlink_metadata()?;
    if !found.is_file() || found.len() > most {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = path.components().rev().filter_map(|it| match it {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    named.collect()
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_within_the_store_alone() {
        let machine = tempfile::tempdir().unwrap();
        let at = |path: &str| machine.path().canonicalize().unwrap().join(path);
        let one = at("store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-one");
        let two = at("store/683yqpnsx5xvpayk2bnrb6cmk0a7blys-two");
        std::fs::create_dir_all(one.join("a/b")).unwrap();
        std::fs::create_dir_all(&two).unwrap();
        std::fs::write(two.join("file"), "words").unwrap();
        std::fs::write(at("secret"), "secret").unwrap();
        symlink(two.join("file"), one.join("there")).unwrap();
        symlink("../../there", one.join("a/b/twice")).unwrap();
        symlink("../../../../secret", one.join("a/b/climbs")).unwrap();
        symlink("../../..", one.join("a/b/whole")).unwrap();
        symlink(at("secret"), one.join("out")).unwrap();
        symlink("/dev/null", one.join("masked")).unwrap();
        symlink("circle", one.join("circle")).unwrap();
        symlink(&two, one.join("folder")).unwrap();
        let path: StorePath = one.to_str().unwrap().parse().unwrap();
        let inside = Inside::store_of(&path);
        let leads = |name: &str| inside.resolve(&one.join(name)).unwrap();
        for name in ["there", "a/b/twice", "folder/file"] {
            assert_eq!(leads(name), Leads::To(two.join("file")), "{name}");
        }
        assert_eq!(leads("out"), Leads::Outside(at("secret")));
        assert_eq!(leads("masked"), Leads::Outside("/dev/null".into()));
        for name in ["a/b/climbs", "a/b/whole", "a/../../.."] {
            assert!(matches!(leads(name), Leads::Outside(_)), "{name}");
        }
        for name in ["circle", "none", "there/none"] {
            assert_eq!(leads(name), Leads::Nowhere, "{name}");
        }
        assert_eq!(read(&two.join("file"), 5).unwrap().as_deref(), Some("words"));
        assert_eq!(read(&two.join("file"), 4).unwrap(), None);
        assert_eq!(read(&two, 4).unwrap(), None);
    }
}
