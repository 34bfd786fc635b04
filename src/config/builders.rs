//! `[[builder]]`: in this version, what this machine builds.
use std::collections::BTreeSet;

use figment::value::Value;

use crate::config::Builder;
use crate::config::reader::Reader;
use crate::config::value::{self, Wrong};

const SLOTS: usize = 2;

/// The builders; without any, this machine and its own system.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Vec<Builder>> {
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
    let store = section.or("store", (), |_| {
        Err(Wrong::wanted("no `store`").remedy(
            "builders other than this machine are not supported by this version: \
             remove `store` or the builder",
        ))
    });
    let systems = section.required("systems", "[\"x86_64-linux\"]", value::systems);
    let features = section.or("features", features(), value::features);
    let slots = section.or("slots", SLOTS, value::count);
    section.finish();
    store?;
    Some(Builder { name: name?, systems: systems?, features: features?, slots: slots? })
}

fn this_machine() -> Builder {
    Builder {
        name: "local".to_owned(),
        systems: vec![system()],
        features: features(),
        slots: SLOTS,
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
fn features() -> Vec<String> {
    let mut features = vec!["benchmark", "big-parallel", "nixos-test"];
    if cfg!(target_os = "linux") && may_use_kvm() {
        features.push("kvm");
    }
    features.into_iter().map(str::to_owned).collect()
}

fn may_use_kvm() -> bool {
    use rustix::fs::Access;
    rustix::fs::access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_ok()
}
