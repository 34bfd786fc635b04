//! Hosts that are built on other machines, and what happens to those machines meanwhile.
use std::path::Path;

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::hold::Hold;
use crate::world::machine::{Equipment, Machine};

const FOREIGN: &str = "aarch64-linux";

pub(crate) fn foreign(name: &str, script: &str) -> Host {
    Host::new(name, &format!(r#"at "{FOREIGN}" "{name}" "{script}""#))
}

pub(crate) fn held(name: &str, hold: &Hold) -> Host {
    foreign(name, &format!("echo waiting; {}; echo {name} > $out", hold.script()))
}

/// Whether a store has a path of this name.
pub(crate) fn has(store: &Path, name: &str) -> bool {
    let mut all = std::fs::read_dir(store).unwrap().filter_map(Result::ok);
    all.any(|it| it.file_name().to_string_lossy().get(32..) == Some(&format!("-{name}")))
}

/// A world with machines of these names for the other system.
pub(crate) async fn with_machines(names: &[&str]) -> (World, Vec<Machine>) {
    let mut world = World::new().await;
    let mut machines = Vec::new();
    for name in names {
        let machine = Machine::start(&world.nix, name, &[FOREIGN]);
        world = world.builder(&machine, 1);
        machines.push(machine);
    }
    (world, machines)
}

impl World {
    /// `fleetcheck builders WORDS…`: what it prints.
    pub(crate) async fn builders(&self, words: &[&str]) -> String {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_fleetcheck"))
            .arg("builders")
            .args(words)
            .arg("--config")
            .arg(self.directory().join("fleetcheck.toml"))
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until a host's last good system is among these roots.
    async fn rooted(&self, roots: impl Fn() -> String) {
        let rooted = async {
            while !roots().contains("gcroots/good-") {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_mins(1), rooted).await;
        assert!(in_time.is_ok(), "there is no root:\n{}", self.log());
    }

    /// Waits until a check has these words in its title.
    pub(crate) async fn titled(&self, sha: &str, name: &str, words: &str) {
        self.wait(&format!("{name} is titled {words:?}"), |github| {
            let check = github.check_run(self.repo.id, sha, name);
            check.is_some_and(|it| it.title.contains(words))
        })
        .await;
    }

    /// Waits until a builder is in a state.
    pub(crate) async fn builder_is(&self, name: &str, state: &str) {
        let document = async {
            loop {
                let (_, text) = self.get(&self.url("/api/v1/builders")).await;
                let all: serde_json::Value = serde_json::from_str(&text).unwrap();
                let found =
                    all["builders"].as_array().unwrap().iter().find(|it| it["name"] == name);
                if found.is_some_and(|it| it["state"] == state) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        let patience = std::time::Duration::from_mins(1);
        let seen = tokio::time::timeout(patience, document).await;
        assert!(seen.is_ok(), "{name} is not {state}:\n{}", self.log());
    }
}

#[tokio::test]
async fn a_host_of_another_system_is_built_on_the_machine_that_has_it() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    world.start().await;
    let pegasus = foreign("pegasus", "echo on the machine; echo pegasus > $out");
    let sha = world.push(&[Host::good("orion", "1"), pegasus.clone()], &[]).await;
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / pegasus"]).await;
    let check = world.check(&sha, "fleet / pegasus");
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{}", world.log());
    assert!(check.title.starts_with("built in "), "{}", check.title);

    let store = world.nix.directory().join("store");
    let has = |folder: &Path| has(folder, "pegasus");
    assert!(has(&machines[0].path(&store)), "it is where it was built");
    assert!(!has(&store), "and not here");

    // The host's last good system outlives the machine's garbage collector.
    let ssh = |words: &[&str]| {
        let output = machines[0].ssh(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    world.rooted(|| ssh(&["nix-store", "--gc", "--print-roots"])).await;
    world.stop().await;
    ssh(&["nix-store", "--gc"]);
    assert!(has(&machines[0].path(&store)), "it was collected");
    world.start().await;

    // Nothing of it changes: known there, and said so.
    let again = world.push(&[Host::good("orion", "2"), pegasus], &[]).await;
    world.settled(&again, &["fleet", "fleet / orion", "fleet / pegasus"]).await;
    assert!(world.check(&again, "fleet / pegasus").title.starts_with("reused"));
}

#[tokio::test]
async fn what_is_wanted_here_is_here_before_its_check_says_that_it_is_built() {
    let mut world = World::new().await;
    let machine = Machine::start(&world.nix, "basestar", &[FOREIGN]);
    world = world.builder_with(&machine, 1, "copy_back = \"toplevel\"");
    world.start().await;
    let engine = format!(r#"at "{FOREIGN}" "engine" "echo engine > $out""#);
    let pegasus = foreign("pegasus", &format!("echo ${{{engine}}} > $out"));
    let sha = world.push(std::slice::from_ref(&pegasus), &[]).await;
    world.concluded(&sha, "fleet / pegasus", "success").await;
    let store = world.nix.directory().join("store");
    assert!(has(&store, "pegasus"), "it is here");
    assert!(has(&store, "engine"), "and what it refers to");

    // Nothing more is asked of the machine for it.
    world.rooted(|| world.nix.output("nix-store", ["--gc", "--print-roots"])).await;
    machine.stop();
    world.stop().await;
    world.nix.output("nix-store", ["--gc"]);
    assert!(has(&store, "pegasus") && has(&store, "engine"), "they were collected");
    world.start().await;
    let again = world.push(&[Host::good("orion", "1"), pegasus], &[]).await;
    world.concluded(&again, "fleet", "success").await;
    assert!(world.check(&again, "fleet / pegasus").title.starts_with("reused"));
}

#[tokio::test]
async fn hosts_are_compared_where_they_were_built() {
    let (mut world, _machines) = with_machines(&["basestar"]).await;
    world.start().await;
    let pegasus = |version: &str| {
        let openssl = format!(r#"at "{FOREIGN}" "openssl-{version}" "echo {version} > $out""#);
        foreign("pegasus", &format!("echo ${{{openssl}}} > $out"))
    };
    let before = world.push(&[pegasus("3.5.1")], &[]).await;
    world.concluded(&before, "fleet", "success").await;
    let after = world.push(&[pegasus("3.5.2")], &[]).await;
    world.concluded(&after, "fleet", "success").await;
    let says = async |sha: &str, words: &str| {
        let check = || world.github.check_run(world.repo.id, sha, "fleet / pegasus");
        let what = format!("fleet / pegasus of {sha} says {words:?}");
        world.wait(&what, |_| check().is_some_and(|it| it.text.contains(words))).await;
        check().unwrap()
    };
    let check = says(&after, "| openssl | 3.5.1 | 3.5.2 |").await;
    assert!(check.title.contains("openssl 3.5.1 to 3.5.2"), "{}", check.title);
    assert!(check.text.contains("whether a reboot is needed is not known"), "{}", check.text);
    assert!(!has(&world.nix.directory().join("store"), "openssl-3.5.2"), "nothing was copied");
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_build_is_nobodys_fault() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    let large = "PATH=/bin:/usr/bin; dd if=/dev/zero of=$out bs=1M count=40";
    let script = format!("echo waiting; {}; {large}", hold.script());
    let sha = world.push(&[foreign("pegasus", &script)], &[]).await;
    hold.runs().await;
    machines[0].fill_disk(8 << 20);
    hold.let_go();
    world.builder_is("basestar", "disk low").await;
    world.titled(&sha, "fleet / pegasus", "basestar: its store's disk is low since ").await;
    machines[0].free_disk();
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("attempt "), "{title}");
}

#[tokio::test]
async fn all_builders_of_a_system_were_away_and_its_builds_waited_and_said_since_when() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    machines[0].stop();
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1"), foreign("pegasus", "echo > $out")], &[]).await;
    world.concluded(&sha, "fleet / orion", "success").await;
    world.titled(&sha, "fleet / pegasus", "no builder for aarch64-linux is reachable since ").await;
    world.titled(&sha, "fleet", "no builder for aarch64-linux is reachable since ").await;
    machines[0].start_again();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("built in "), "it waited, it was not tried in vain: {title}");
}

#[tokio::test]
async fn a_builder_that_dies_in_the_middle_of_a_build_is_nobodys_fault() {
    let (mut world, machines) = with_machines(&["basestar", "galactica"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    world.builder_is("basestar", "ready").await;
    world.builder_is("galactica", "ready").await;
    let sha = world.push(&[held("pegasus", &hold)], &[]).await;
    hold.runs().await;
    let works = |it: &Machine| it.processes().iter().any(|it| it.contains("waiting"));
    let (died, other) = match (works(&machines[0]), works(&machines[1])) {
        (true, false) => (&machines[0], &machines[1]),
        (false, true) => (&machines[1], &machines[0]),
        both => panic!("one of them builds: {both:?}"),
    };
    died.stop();
    hold.is_over().await;
    hold.runs().await;
    assert!(works(other), "the other one takes it");
    world.titled(&sha, "fleet / pegasus", "attempt 2").await;
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("attempt 2: built in "), "{title}");
}

#[tokio::test]
async fn a_host_goes_where_it_was_built_last_and_else_to_the_fastest_and_waits_for_neither() {
    let mut world = World::new().await;
    let slow = Machine::start(&world.nix, "basestar", &[FOREIGN]);
    let fast = Machine::start(&world.nix, "galactica", &[FOREIGN]);
    world = world.builder(&slow, 1).builder(&fast, 1).builder_setting("speed = 2");
    let mut holds = ["pegasus", "cloud9", "viper"].map(|it| world.hold(it));
    let builds = |it: &Machine, name: &str| {
        it.processes().iter().any(|it| it.contains(&format!("/{name}-said")))
    };
    world.start().await;
    world.builder_is("basestar", "ready").await;
    world.builder_is("galactica", "ready").await;
    // The fast one takes one of them; the other is not kept waiting for it.
    let both = [held("pegasus", &holds[0]), held("cloud9", &holds[1])];
    let sha = world.push(&both, &[]).await;
    for hold in &mut holds[..2] {
        hold.runs().await;
    }
    let at = usize::from(builds(&slow, "cloud9"));
    let names = ["pegasus", "cloud9"];
    assert!(builds(&slow, names[at]) && builds(&fast, names[1 - at]), "{}", world.log());
    for hold in &mut holds[..2] {
        hold.let_go();
        hold.is_over().await;
    }
    world.concluded(&sha, "fleet", "success").await;

    // Both are free: it goes to the slow one, which built it last.
    let script = holds[at].script();
    let anew = foreign(names[at], &format!("echo anew; {script}; echo anew > $out"));
    let sha = world.push(&[anew], &[]).await;
    holds[at].runs().await;
    assert!(builds(&slow, names[at]), "{}", world.log());
    holds[at].let_go();
    world.concluded(&sha, &format!("fleet / {}", names[at]), "success").await;

    // Nobody has built this one.
    let sha = world.push(&[held("viper", &holds[2])], &[]).await;
    holds[2].runs().await;
    assert!(builds(&fast, "viper"), "{}", world.log());
    holds[2].let_go();
    world.concluded(&sha, "fleet / viper", "success").await;
}

#[tokio::test]
async fn a_superseded_build_ends_on_the_other_machine_too() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    let mut hold = world.hold("pegasus");
    world.start().await;
    let old = world.push(&[held("pegasus", &hold)], &[]).await;
    hold.runs().await;
    let new = world.push(&[foreign("pegasus", "echo new > $out")], &[]).await;
    hold.is_over().await;
    world.concluded(&new, "fleet", "success").await;
    world.concluded(&old, "fleet / pegasus", "cancelled").await;
    let left = machines[0].processes();
    assert!(!left.iter().any(|it| it.contains("waiting")), "{left:?}");
}

#[tokio::test]
async fn a_drained_builder_gets_nothing_new_until_it_is_undrained() {
    let (mut world, machines) = with_machines(&["basestar"]).await;
    world.start().await;
    world.builder_is("basestar", "ready").await;
    let said = world.builders(&["drain", &machines[0].name]).await;
    assert!(said.contains("no new build goes there"), "{said}");
    let sha = world.push(&[foreign("pegasus", "echo > $out")], &[]).await;
    world.titled(&sha, "fleet / pegasus", "basestar: drained by hand since ").await;
    assert!(world.builders(&[]).await.contains("drained by hand"));
    world.builders(&["undrain", "basestar"]).await;
    world.concluded(&sha, "fleet", "success").await;
}

#[tokio::test]
async fn a_build_that_nobody_took_for_too_long_fails_with_that_reason_as_nobodys_fault() {
    let (world, machines) = with_machines(&["basestar"]).await;
    let mut world = world.setting("unplaceable_after = \"1s\"");
    world.start().await;
    world.builders(&["drain", &machines[0].name]).await;
    let sha = world.push(&[Host::good("orion", "1"), foreign("pegasus", "echo > $out")], &[]).await;
    world.concluded(&sha, "fleet", "failure").await;
    world.concluded(&sha, "fleet / orion", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    let said =
        "no answer, and nobody's fault: no builder took it within 1 s: basestar: drained by hand";
    assert!(title.starts_with(said), "{title}");
}

#[tokio::test]
async fn a_full_disk_takes_a_builder_out_of_rotation_with_that_reason() {
    let mut world = World::new().await;
    let machine = Machine::equipped(&world.nix, "basestar", Equipment::of(&[FOREIGN]));
    machine.fill_disk(20 << 20);
    world = world.builder(&machine, 1);
    world.start().await;
    world.builder_is("basestar", "disk low").await;
    let sha = world.push(&[foreign("pegasus", "echo > $out")], &[]).await;
    world.titled(&sha, "fleet / pegasus", "basestar: its store's disk is low since ").await;
    machine.free_disk();
    world.concluded(&sha, "fleet", "success").await;
}

#[tokio::test]
async fn a_low_disk_is_relieved_of_its_garbage_and_builds_go_there_again() {
    let mut world = World::new().await;
    let machine = Machine::equipped(&world.nix, "basestar", Equipment::of(&[FOREIGN]));
    let waste = "dd if=/dev/zero of=waste bs=1M count=60 && nix-store --add waste && rm waste";
    assert!(machine.ssh(&[waste]).status().unwrap().success());
    machine.fill_disk(10 << 20);
    world = world.builder_with(&machine, 1, "collect = true");
    world.start().await;
    world.logged("builder basestar is asked to collect ").await;
    world.logged("builder basestar collected ").await;
    assert!(!has(&machine.path(world.nix.directory().join("store")), "waste"), "it is there");
    world.builder_is("basestar", "ready").await;
    let sha = world.push(&[foreign("pegasus", "echo > $out")], &[]).await;
    world.concluded(&sha, "fleet", "success").await;
    let said = world.builders(&[]).await;
    assert!(said.contains(" of garbage were collected at "), "{said}");
}

#[tokio::test]
async fn machines_of_nix_s_own_file_come_and_go_while_the_service_runs() {
    let (mut world, file) = World::new().await.machines_file();
    let machine = Machine::start(&world.nix, "basestar", &[FOREIGN]);
    let mut hold = world.hold("pegasus");
    std::fs::write(&file, "# none yet\n").unwrap();
    world.start().await;
    let sha = world.push(&[Host::good("orion", "1"), held("pegasus", &hold)], &[]).await;
    world.concluded(&sha, "fleet / orion", "success").await;
    world.titled(&sha, "fleet / pegasus", "no builder for aarch64-linux in the settings").await;

    std::fs::write(&file, machine.line(1)).unwrap();
    hold.runs().await;
    assert!(world.get(&world.url("/builders")).await.1.contains(&machine.address));

    // A mistake changes nothing.
    std::fs::write(&file, format!("{}root@viper aarch64\n", machine.line(2))).unwrap();
    world.logged("the builders stay as they are: a mistake in the settings:").await;

    // It leaves while it builds, and builds to the end.
    std::fs::write(&file, "# none any more\n").unwrap();
    world.logged(&format!("builder {} is changed or gone", machine.address)).await;
    assert!(!world.get(&world.url("/builders")).await.1.contains(&machine.address));
    hold.let_go();
    world.concluded(&sha, "fleet", "success").await;
    let title = world.check(&sha, "fleet / pegasus").title;
    assert!(title.starts_with("built in "), "its build was not touched: {title}");
}
