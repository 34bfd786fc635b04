//! `[[builder]]` and `[builders]`: what this machine builds, and what others do.
use std::collections::BTreeSet;

use figment::value::Value;

use crate::config::reader::Reader;
use crate::config::stores;
use crate::config::value::{self, Wrong};
use crate::config::{Builder, BuilderStore, CopyBack, MachinesFile};
use crate::domain::builder::Speed;

const SLOTS: usize = 2;
/// In percent of the disk.
pub(super) const MIN_FREE: u8 = 5;

/// The builders, and the file that they are from, if they are.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<(Vec<Builder>, Option<MachinesFile>)> {
    let is_listed = reader.has("builder");
    let mut section = reader.section("builders");
    let file = section.or("file", None, |given| {
        if is_listed {
            return Err(Wrong::wanted("only one of `builders.file` and [[builder]]")
                .found("[[builder]] beside it")
                .remedy("write every machine into the file, or each as a [[builder]]"));
        }
        value::file(given).map(|path| Some(MachinesFile { path }))
    });
    section.finish();
    let listed = listed(reader);
    match file? {
        None => Some((listed?, None)),
        Some(file) => match file.read() {
            Ok(builders) => Some((builders, Some(file))),
            Err(errors) => {
                reader.add(errors);
                None
            }
        },
    }
}

/// `[[builder]]`; without any, this machine and its own system.
fn listed(reader: &mut Reader<'_>) -> Option<Vec<Builder>> {
    let before = reader.mistakes();
    let Some(items) = reader.items("builder") else {
        return (reader.mistakes() == before).then(|| vec![this_machine()]);
    };
    let mut names = BTreeSet::new();
    let builders: Vec<Option<Builder>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| read_one(reader, index, item, &mut names))
        .collect();
    if builders.is_empty() { Some(vec![this_machine()]) } else { builders.into_iter().collect() }
}

fn read_one(
    reader: &mut Reader<'_>,
    index: usize,
    item: &Value,
    names: &mut BTreeSet<String>,
) -> Option<Builder> {
    let mut section = reader.item("builder", index, item);
    let name = section.required("name", "\"local\"", |given| {
        let name = value::word(given)?;
        if names.insert(name.clone()) {
            Ok(name)
        } else {
            Err(Wrong::wanted("a name that no other builder has"))
        }
    });
    let store = section.or("store", None, |given| stores::store(given).map(Some));
    let ssh_options = section.or("ssh_options", vec![], |given| match &store {
        Some(Some((_, Some(_)))) | None => stores::ssh_options(given),
        Some(_) => Err(Wrong::wanted("a `store` that begins with ssh-ng://")
            .remedy("ssh has no part in this builder: remove `ssh_options`")),
    });
    let systems = section.required("systems", "[\"x86_64-linux\"]", value::systems);
    let is_here = matches!(store, Some(None));
    let features =
        section.or("features", if is_here { features() } else { nix_features() }, value::features);
    let mandatory_features = section.or("mandatory_features", vec![], value::features);
    let slots = section.or("slots", SLOTS, value::count);
    let speed = section.or("speed", Speed::default(), value::speed);
    let min_free = section.or("min_free", MIN_FREE, value::percent);
    let collect = section.or("collect", false, value::switch);
    let copy_back = section.or("copy_back", CopyBack::Never, |given| {
        if is_here {
            return Err(Wrong::wanted("another machine's store in `store`")
                .remedy("what this machine builds is here: remove `copy_back`"));
        }
        value::copy_back(given)
    });
    section.finish();
    let (store, ssh_options) = (store?, ssh_options?);
    Some(Builder {
        name: name?,
        store: store.map(|(uri, ssh)| BuilderStore { uri, ssh, ssh_options }),
        systems: systems?,
        features: features?,
        mandatory_features: mandatory_features?,
        slots: slots?,
        speed: speed?,
        min_free: min_free?,
        collect: collect?,
        copy_back: copy_back?,
    })
}

pub(super) fn this_machine() -> Builder {
    Builder {
        name: "local".to_owned(),
        store: None,
        systems: vec![system()],
        features: features(),
        mandatory_features: vec![],
        slots: SLOTS,
        speed: Speed::default(),
        min_free: MIN_FREE,
        collect: false,
        copy_back: CopyBack::Never,
    }
}

/// This machine's system as Nix calls it: Rust has other words for some.
fn system() -> String {
    let arch = match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "powerpc64le",
        "loongarch64" => "loongarch64",
        same => same,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        same => same,
    };
    format!("{arch}-{os}")
}

/// What Nix itself says that a machine can do unless `system-features` is set; without them a
/// kernel, which asks for `big-parallel`, would wait for ever.
fn nix_features() -> Vec<String> {
    ["benchmark", "big-parallel", "nixos-test"].map(str::to_owned).to_vec()
}

/// The same of this machine, which can be looked at.
fn features() -> Vec<String> {
    let mut features = nix_features();
    if cfg!(target_os = "linux") && may_use_kvm() {
        features.push("kvm".to_owned());
    }
    features
}

fn may_use_kvm() -> bool {
    use rustix::fs::Access;
    rustix::fs::access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_ok()
}
