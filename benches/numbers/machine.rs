//! What a process has used, by the kernel's books.
use std::time::Duration;

use procfs::process::Process;

fn process(id: u32) -> Process {
    Process::new(id.cast_signed()).unwrap()
}

/// User and system time of this process alone, without its children.
pub(crate) fn cpu(id: u32) -> Duration {
    let stat = process(id).stat().unwrap();
    Duration::from_millis((stat.utime + stat.stime) * 1000 / procfs::ticks_per_second())
}

/// Memory that it holds now and has held at most, in MiB.
pub(crate) fn memory(id: u32) -> (f64, f64) {
    let status = process(id).status().unwrap();
    let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
    (mib(status.vmrss), mib(status.vmhwm))
}

/// What the machine did for others while we measured, as the load shows it.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().to_owned()
}
