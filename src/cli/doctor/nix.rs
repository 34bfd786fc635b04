//! Whether this machine's Nix can do what the service asks of it.
use crate::cli::doctor::Finding;
use crate::config;
use crate::nix::Nix;
use crate::nix::worker::Worker;

/// The oldest Nix that does; what it says and prints is tested from here on.
const OLDEST: (u64, u64) = (2, 8);

/// The version, and whether it evaluates.
pub(super) async fn look(settings: &config::Nix) -> Vec<Finding> {
    let nix = Nix::new(settings);
    let program = nix.program().display().to_string();
    let version = match nix.version().await {
        Ok(version) => version,
        Err(error) => {
            return vec![Finding::Mend(format!(
                "{error}; install Nix, or let `nix.program` name it"
            ))];
        }
    };
    if is_older(&version, OLDEST) {
        let (major, minor) = OLDEST;
        return vec![Finding::Mend(format!(
            "{program} is {version}; install Nix {major}.{minor} or newer"
        ))];
    }
    // The experimental features are switched on by the service itself; this is a flake's command.
    match nix.system().await {
        Ok(system) => {
            vec![Finding::Good(format!("{program} is {version} and evaluates, {system}"))]
        }
        Err(error) => vec![Finding::Mend(format!(
            "{program} is {version} and does not evaluate: {error}; run it as the service's user"
        ))],
    }
}

/// Whether `nix-daemon --stdio` speaks with us as it will in each slot.
pub(super) async fn look_at_daemon(settings: &config::Nix) -> Vec<Finding> {
    let nix = Nix::new(settings);
    let daemon = nix.daemon().display().to_string();
    match Worker::start(&nix).await {
        Ok(worker) => {
            let version = worker.version().to_owned();
            worker.stop().await;
            vec![Finding::Good(format!("{daemon} --stdio answers, {version}"))]
        }
        Err(error) => vec![Finding::Mend(format!(
            "{daemon} --stdio: {error}; it stands beside nix in every installation, and \
             the service's user must be able to reach the store"
        ))],
    }
}

/// Whether the builders' systems are those of this machine.
pub(super) async fn look_at_builders(
    settings: &config::Nix,
    builders: &[config::Builder],
) -> Vec<Finding> {
    let Ok(system) = Nix::new(settings).system().await else {
        return vec![Finding::Note("not looked at: Nix does not answer".to_owned())];
    };
    builders.iter().map(|builder| judge(builder, &system)).collect()
}

fn judge(builder: &config::Builder, system: &str) -> Finding {
    let config::Builder { name, systems, features, slots } = builder;
    let foreign: Vec<&str> =
        systems.iter().map(String::as_str).filter(|it| !does(system, it)).collect();
    if foreign.is_empty() {
        let features =
            if features.is_empty() { "no features".to_owned() } else { features.join(", ") };
        return Finding::Good(format!("{name}: {}; {features}; {slots} slots", systems.join(", ")));
    }
    Finding::Note(format!(
        "{name}: this machine is {system}; {} is built here only if `extra-platforms` of nix.conf \
         has it and the kernel can run it",
        foreign.join(", ")
    ))
}

/// What a machine of a system builds without being told to.
fn does(machine: &str, system: &str) -> bool {
    machine == system || (machine, system) == ("x86_64-linux", "i686-linux")
}

/// Whether a version like `2.34.8` or `2.4pre20210802` is older; one that cannot be read is not.
pub(super) fn is_older(version: &str, than: (u64, u64)) -> bool {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u64>().ok());
    let (major, minor) = (numbers.next(), numbers.next().unwrap_or(0));
    major.is_some_and(|major| (major, minor) < than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, older) in [
            ("2.7.0", true),
            ("2.8.0", false),
            ("2.34.8", false),
            ("2.4pre2021", true),
            ("x", false),
        ] {
            assert_eq!(is_older(version, OLDEST), older, "{version}");
        }
    }

    #[test]
    fn a_builder_of_another_system_is_pointed_out() {
        let builder = |system: &str| config::Builder {
            name: "local".into(),
            systems: vec![system.into()],
            features: vec![],
            slots: 2,
        };
        assert!(matches!(judge(&builder("i686-linux"), "x86_64-linux"), Finding::Good(_)));
        assert!(matches!(judge(&builder("aarch64-linux"), "x86_64-linux"), Finding::Note(_)));
    }
}
