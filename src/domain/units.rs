//! What a switch to a new system does to the units of systemd that run, read from their files.
//!
//! The rules are those of NixOS' `switch-to-configuration`: units are compared by what they say,
//! drop-ins included, not by where they are. A difference restarts a unit, except where NixOS
//! knows better ([`effect`]). Whether a unit runs at all is known by its host alone.
use std::collections::{BTreeMap, BTreeSet};

/// What a unit says: for each key of each section its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile(BTreeMap<Key, Vec<String>>);

/// Section and key.
type Key = (String, String);

/// What happens to a unit that runs and is another in the new system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Restarted,
    Reloaded,
    /// It goes on as it was: its author said so, or systemd takes the change in by itself.
    LeftAlone,
}

/// Differences in these keys of `[Unit]` need nothing to be done.
const IGNORED: [&str; 12] = [
    "Description",
    "Documentation",
    "OnFailure",
    "OnSuccess",
    "OnFailureJobMode",
    "IgnoreOnIsolate",
    "StopWhenUnneeded",
    "RefuseManualStart",
    "RefuseManualStop",
    "AllowIsolate",
    "CollectMode",
    "SourcePath",
];

impl UnitFile {
    /// A unit's file and its drop-ins, in the order in which systemd reads them. An empty value
    /// takes back what was said before; `[Install]` says nothing about a unit that runs.
    #[must_use]
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut unit = Self::default();
        texts.into_iter().for_each(|text| unit.read(text));
        unit.0.retain(|_, values| !values.is_empty());
        unit
    }

    fn read(&mut self, text: &str) {
        let mut section = None;
        let mut continued = String::new();
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() && continued.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(line) = line.strip_suffix('\\') {
                continued.push_str(line.trim_end());
                continued.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut continued) + line;
            if let Some(name) = whole.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                section = (name != "Install").then(|| name.to_owned());
            } else if let (Some(section), Some((key, value))) = (&section, whole.split_once('=')) {
                let key = (section.clone(), key.trim_end().to_owned());
                let values = self.0.entry(key).or_default();
                match value.trim() {
                    "" => values.clear(),
                    value => values.push(value.to_owned()),
                }
            }
        }
    }

    fn is_set(&self, section: &str, key: &str, default: Default) -> bool {
        let values = self.0.get(&(section.to_owned(), key.to_owned()));
        match values.and_then(|it| it.last()) {
            Some(value) => matches!(value.as_str(), "1" | "yes" | "true" | "on"),
            None => default == Default::Yes,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Default {
    Yes,
    No,
}

/// What happens to a running unit of this name; `None` when it says the same, or nothing that
/// matters is another.
#[must_use]
pub fn effect(name: &str, old: &UnitFile, new: &UnitFile) -> Option<Effect> {
    match difference(old, new)? {
        Effect::Reloaded => Some(Effect::Reloaded),
        Effect::Restarted | Effect::LeftAlone => Some(changed(name, new)),
    }
}

fn difference(old: &UnitFile, new: &UnitFile) -> Option<Effect> {
    let keys: BTreeSet<&Key> = old.0.keys().chain(new.0.keys()).collect();
    let mut worst = None;
    for key in keys {
        let (was, is) = (old.0.get(key), new.0.get(key));
        if was == is {
            continue;
        }
        let reload = match (key.0.as_str(), key.1.as_str()) {
            ("Unit", key) if IGNORED.contains(&key) => continue,
            // A reload would no longer find what to do.
            ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") if is.is_none() => continue,
            ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") => true,
            ("Mount", "Options") => was.is_some() && is.is_some(),
            _ => false,
        };
        if !reload {
            return Some(Effect::Restarted);
        }
        worst = Some(Effect::Reloaded);
    }
    worst
}

/// What becomes of a unit with a difference that matters.
fn changed(name: &str, new: &UnitFile) -> Effect {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    match kind {
        // systemd applies the new limits and watches itself; targets and sockets are not stopped.
        "slice" | "path" | "socket" | "target" => Effect::LeftAlone,
        "mount" if matches!(name, "-.mount" | "nix.mount") => Effect::Reloaded,
        "mount" => Effect::Restarted,
        _ if new.is_set("Service", "X-ReloadIfChanged", Default::No) => Effect::Reloaded,
        _ if !new.is_set("Service", "X-RestartIfChanged", Default::Yes)
            || new.is_set("Unit", "RefuseManualStop", Default::No)
            || new.is_set("Unit", "X-OnlyManualStart", Default::No) =>
        {
            Effect::LeftAlone
        }
        _ => Effect::Restarted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, old: &str, new: &str) -> Option<Effect> {
        effect(name, &UnitFile::parse([old]), &UnitFile::parse([new]))
    }

    const OLD: &str = "[Unit]\nDescription=A\n[Service]\nExecStart=/a\n";

    #[test]
    fn what_a_switch_does_to_a_unit_follows_nixos() {
        use Effect::{LeftAlone, Reloaded, Restarted};
        let service =
            |more: &str| format!("[Unit]\nDescription=A\n[Service]\nExecStart=/b\n{more}");
        for (name, new, wanted) in [
            ("a.service", OLD.to_owned(), None),
            ("a.service", service(""), Some(Restarted)),
            ("a.service", format!("{OLD}ExecReload=/r\n"), Some(Reloaded)),
            ("a.service", format!("{OLD}[Unit]\nX-Reload-Triggers=/t\n"), Some(Reloaded)),
            ("a.service", format!("{OLD}[Unit]\nX-Restart-Triggers=/t\n"), Some(Restarted)),
            ("a.service", OLD.replace("Description=A", "Description=B"), None),
            ("a.service", format!("{OLD}[Install]\nWantedBy=x.target\n"), None),
            ("a.service", service("X-ReloadIfChanged=true"), Some(Reloaded)),
            ("a.service", service("X-RestartIfChanged=false"), Some(LeftAlone)),
            ("a.service", service("X-StopIfChanged=false"), Some(Restarted)),
            ("a.service", service("[Unit]\nRefuseManualStop=yes"), Some(LeftAlone)),
            ("a.service", service("[Unit]\nX-OnlyManualStart=1"), Some(LeftAlone)),
            ("a@.service", service(""), Some(Restarted)),
            ("a.socket", service(""), Some(LeftAlone)),
            ("a.slice", service(""), Some(LeftAlone)),
            ("multi-user.target", service(""), Some(LeftAlone)),
            ("a.timer", service(""), Some(Restarted)),
            ("home.mount", service(""), Some(Restarted)),
            ("nix.mount", service(""), Some(Reloaded)),
        ] {
            assert_eq!(of(name, OLD, &new), wanted, "{name}\n{new}");
        }
    }

    #[test]
    fn only_the_options_of_a_mount_are_changed_in_place() {
        let mount =
            |options: &str, what: &str| format!("[Mount]\nWhat={what}\nOptions={options}\n");
        let old = mount("rw", "/dev/a");
        assert_eq!(of("home.mount", &old, &mount("ro", "/dev/a")), Some(Effect::Reloaded));
        assert_eq!(of("home.mount", &old, &mount("ro", "/dev/b")), Some(Effect::Restarted));
    }

    #[test]
    fn drop_ins_comments_and_continued_lines_are_read_as_systemd_reads_them() {
        let whole = UnitFile::parse(["[Service]\nExecStart=/a b c\nEnvironment=X=1\n"]);
        let parts = UnitFile::parse([
            "# a\n; b\n\n [Service] \nExecStart = /old\nEnvironment=\\\n  X=1\n",
            "[Service]\nExecStart=\nExecStart=/a b \\\n  c\nNonsense\n",
        ]);
        assert_eq!(parts, whole);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(old in "(?s).{0,200}", new in "[\\[\\]A-Za-z=\\\\\n#; ]{0,200}") {
            let _ = of("a.service", &old, &new);
            prop_assert_eq!(of("a.service", &new, &new), None);
        }
    }
}
