//! What a switch from one system of `NixOS` to another would do, read from the two systems.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::closure::Package;
use crate::domain::id::StorePath;
use crate::domain::insight::{Part, PartChange, UnitChange, Units};
use crate::domain::units::{UnitFile, effect};
use crate::nix::inside::{Inside, Leads, read};

/// Entries of a system's folder of units that are looked at; a desktop has some 500.
const MOST_UNITS: usize = 10_000;
/// The longest unit that is read, in bytes: others have changed when they are other files.
const LONGEST_UNIT: u64 = 1 << 20;
/// Drop-ins of one unit.
const MOST_DROP_INS: usize = 100;

/// The kinds of units that are described by files.
const KINDS: [&str; 10] = [
    "service",
    "socket",
    "timer",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "slice",
    "scope",
];

/// What the two systems differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// What is taken in at boot alone.
    pub reboot: Vec<PartChange>,
    /// `None` when neither has units.
    pub units: Option<Units>,
}

/// Compares two systems in the store; neither is run.
///
/// # Errors
/// When the store cannot be read.
pub fn compare(base: &StorePath, head: &StorePath) -> io::Result<Switch> {
    let (base, head) = (System::of(base), System::of(head));
    Ok(Switch { reboot: reboot(&base, &head)?, units: units(&base, &head)? })
}

/// A system's files.
struct System {
    inside: Inside,
    toplevel: PathBuf,
}

impl System {
    fn of(path: &StorePath) -> Self {
        Self { inside: Inside::store_of(path), toplevel: PathBuf::from(path.as_str()) }
    }

    fn find(&self, name: &str) -> io::Result<Option<PathBuf>> {
        self.inside.find(&self.toplevel.join(name))
    }
}

fn reboot(base: &System, head: &System) -> io::Result<Vec<PartChange>> {
    const PARTS: [(&str, Part); 4] = [
        ("kernel", Part::Kernel),
        ("kernel-modules", Part::KernelModules),
        ("initrd", Part::Initrd),
        ("systemd", Part::Systemd),
    ];
    let mut changes = Vec::new();
    for (name, part) in PARTS {
        let (before, after) = (base.find(name)?, head.find(name)?);
        if before != after {
            let version = |it: &Option<PathBuf>| version(it.as_deref()?);
            changes.push(PartChange { part, before: version(&before), after: version(&after) });
        }
    }
    let parameters = |of: &System| -> io::Result<Option<String>> {
        of.find("kernel-params")?.map_or(Ok(None), |it| read(&it, LONGEST_UNIT))
    };
    if parameters(base)? != parameters(head)? {
        changes.push(PartChange { part: Part::KernelParameters, before: None, after: None });
    }
    changes.sort_by_key(|it| it.part);
    Ok(changes)
}

/// The version of the store path that a file belongs to.
fn version(file: &Path) -> Option<String> {
    let path = file.ancestors().find_map(|it| it.to_str()?.parse::<StorePath>().ok())?;
    Package::parse(path.name()).version
}

fn units(base: &System, head: &System) -> io::Result<Option<Units>> {
    const FOLDER: &str = "etc/systemd/system";
    let (before, after) = match (base.find(FOLDER)?, head.find(FOLDER)?) {
        (None, None) => return Ok(None),
        (before, after) if before == after => return Ok(Some(Units::default())),
        (before, after) => (before, after),
    };
    let listed = |system: &System, folder: Option<PathBuf>| -> io::Result<Listed> {
        folder.map_or_else(|| Ok(Listed::default()), |it| list(system, &it))
    };
    let (before, after) = (listed(base, before)?, listed(head, after)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let change = match (before.get(name), after.get(name)) {
            (None, None) => None,
            (None, Some(_)) => Some(UnitChange::Added),
            (Some(_), None) => Some(UnitChange::Removed),
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => {
                effect(name, &parse(before)?, &parse(after)?).map(UnitChange::Kept)
            }
        };
        changes.extend(change.map(|change| (name.clone(), change)));
    }
    Ok(Some(Units::of(&changes)))
}

/// For each unit its own file and its drop-ins, as they lie in the store.
type Listed = BTreeMap<String, Vec<PathBuf>>;

/// A masked unit (a link to `/dev/null`) is none, an alias is counted under its own name only.
fn list(system: &System, folder: &Path) -> io::Result<Listed> {
    let mut units = Listed::new();
    let mut drop_ins = Listed::new();
    for entry in std::fs::read_dir(folder)?.take(MOST_UNITS) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(unit) = name.strip_suffix(".d").filter(|it| is_unit(it)) {
            drop_ins.insert(unit.to_owned(), files(system, &entry.path())?);
        } else if is_unit(&name) && !is_alias(&entry.path()) {
            match system.inside.resolve(&entry.path())? {
                Leads::To(file) => _ = units.insert(name, vec![file]),
                Leads::Nowhere | Leads::Outside(_) => {}
            }
        }
    }
    for (unit, files) in drop_ins {
        // One without a file of its own here: systemd's own unit, which it changes.
        units.entry(unit).or_default().extend(files);
    }
    Ok(units)
}

fn is_unit(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && KINDS.contains(&kind))
}

fn is_alias(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|target| target.components().count() == 1)
}

/// The drop-ins in a folder, in the order in which systemd reads them.
fn files(system: &System, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(folder) = system.inside.find(folder)?.filter(|it| it.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(MOST_DROP_INS) {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "conf") {
            names.push(path);
        }
    }
    names.sort();
    let found = names.iter().map(|it| system.inside.find(it));
    found.filter_map(Result::transpose).collect()
}

fn parse(files: &[PathBuf]) -> io::Result<UnitFile> {
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        // What cannot be read says where it is, so that another one is a change.
        let text = read(file, LONGEST_UNIT)?;
        texts.push(text.unwrap_or_else(|| format!("[Service]\nExecStart={}\n", file.display())));
    }
    Ok(UnitFile::parse(texts.iter().map(String::as_str)))
}
