//! What this machine has, for settings that follow from it.
use std::path::{Path, PathBuf};

/// Of a hundred: the rest is for builds, and for whatever else runs here.
const SHARE: u64 = 70;
/// Where neither the machine nor its cgroup says anything.
const UNKNOWN: u64 = 8 << 30;
const MIB: u64 = 1 << 20;

/// Bytes for evaluations, in whole MiB: of the machine's memory, or of what the cgroup that we are
/// in may use, where that is less.
pub(super) fn evaluation_memory() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let whole = memory(read).unwrap_or(UNKNOWN);
    (whole / 100 * SHARE / MIB).max(1) * MIB
}

fn memory(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|it| total(&it));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    // "max", and the largest number there is in version 1, are no limits.
    let limits = groups.lines().flat_map(limit_files).filter_map(|it| read(&it));
    let limits = limits.filter_map(|it| it.trim().parse::<u64>().ok());
    machine.into_iter().chain(limits).min()
}

/// `MemTotal:       24684524 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the limits of a cgroup and of those around it stand: `0::/system.slice/fleetcheck.service`
/// in version 2, `4:memory:/…` in version 1.
fn limit_files(group: &str) -> Vec<PathBuf> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return vec![] };
    let (root, names): (_, &[&str]) = if controllers.is_empty() {
        ("/sys/fs/cgroup", &["memory.max", "memory.high"])
    } else if controllers.split(',').any(|it| it == "memory") {
        ("/sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
    } else {
        return vec![];
    };
    let root = Path::new(root);
    // Within a container the path may be of outside; then the limit stands at the root.
    let here = root.join(path.trim_start_matches('/'));
    let around = here.ancestors().take_while(|it| it.starts_with(root));
    around.flat_map(|it| names.iter().map(|name| it.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine of 24 GiB with these files.
    fn of(files: &[(&str, &str)]) -> Option<u64> {
        memory(|path| {
            let meminfo = ("/proc/meminfo", "MemTotal:       25165824 kB\nMemFree: 1 kB\n");
            let mut files = files.iter().chain([&meminfo]);
            files.find(|it| Path::new(it.0) == path).map(|it| it.1.to_owned())
        })
    }

    #[test]
    fn it_is_the_machine_s_unless_a_cgroup_may_use_less() {
        assert_eq!(of(&[]), Some(24 * GIB));
        let unit = ("/proc/self/cgroup", "0::/system.slice/fleetcheck.service\n");
        let max = ("/sys/fs/cgroup/system.slice/fleetcheck.service/memory.max", "max\n");
        assert_eq!(of(&[unit, max]), Some(24 * GIB));
        let slice = ("/sys/fs/cgroup/system.slice/memory.high", "8589934592\n");
        assert_eq!(of(&[unit, max, slice]), Some(8 * GIB), "of a cgroup around it");
        let container = ("/sys/fs/cgroup/memory.max", "2147483648\n");
        assert_eq!(of(&[unit, container]), Some(2 * GIB), "seen from within a container");
        let first = ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n");
        let limit = ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
        let none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of(&[first, limit, none]), Some(GIB));
    }

    #[test]
    fn what_says_nothing_is_unknown() {
        assert_eq!(memory(|_| None), None);
        assert_eq!(memory(|_| Some("nonsense: -1".to_owned())), None);
        assert!(evaluation_memory().is_multiple_of(MIB));
    }
}
