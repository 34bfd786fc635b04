//! What changes on each host: against the commit before, on real systems in a real store.
use insta::{allow_duplicates, assert_snapshot};

use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{From, Options};
use crate::world::nix::TestNix;
use crate::world::system::System;

const SSHD: &str = "[Service]\nExecStart=${pkg \"openssl-VERSION\"}\n";
const NAMES: [&str; 3] = ["fleet", "fleet / orion", "fleet / viper"];

fn host(system: &System) -> Host {
    Host::new(system.name(), &system.expression())
}

/// A system with this openssl, which its sshd uses.
fn with_openssl(name: &str, version: &str) -> System {
    let unit = SSHD.replace("VERSION", version);
    System::new(name).package(&format!("openssl-{version}")).unit("sshd.service", &unit)
}

fn both(change: impl Fn(System) -> System) -> [Host; 2] {
    ["orion", "viper"].map(|name| host(&change(with_openssl(name, "3.5.1"))))
}

/// Waits until a check says this in its title, summary or text.
async fn says(world: &World, sha: &str, name: &str, wanted: &str) -> String {
    let page = || {
        let check = world.github.check_run(world.repo.id, sha, name)?;
        Some(format!("{}\n---\n{}\n---\n{}", check.title, check.summary, check.text))
    };
    let what = format!("{name} of {sha} says `{wanted}`");
    world.wait(&what, |_| page().is_some_and(|it| it.contains(wanted))).await;
    page().unwrap()
}

/// The part of a host's check that tells what changes.
fn changes(page: &str, sha: &str) -> String {
    let (_, text) = page.split_once("### What changes").unwrap();
    text.replace(&sha[..7], "BASE").trim().to_owned()
}

#[tokio::test]
async fn an_upgraded_package_is_shown_on_its_hosts_and_rolled_up_in_the_gate() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let before = world.push(&both(|it| it), &[]).await;
        world.settled(&before, &NAMES).await;
        let hosts = ["orion", "viper"].map(|name| with_openssl(name, "3.5.2"));
        let hosts = [host(&hosts[0]), host(&hosts[1].clone().kernel("6.12.58").package("jq-1.8"))];
        let after = world.push(&hosts, &[]).await;
        world.settled(&after, &NAMES).await;
        let orion = says(&world, &after, "fleet / orion", "What changes").await;
        let viper = says(&world, &after, "fleet / viper", "What changes").await;
        let gate = says(&world, &after, "fleet", "openssl 3.5.1 to 3.5.2 on all 2 hosts").await;
        allow_duplicates! {
            assert_snapshot!(changes(&orion, &before), @r###"
Compared with BASE.

| package | before | after |
| --- | --- | --- |
| openssl | 3.5.1 | 3.5.2 |

- files of the configuration: 4
- closure: 1 MiB, as before

Units, as far as they run:

- restarted: sshd.service
"###);
            assert_snapshot!(changes(&viper, &before), @r###"
Compared with BASE.

**A reboot is needed**: kernel 6.12.9 to 6.12.58, kernel modules, initrd.

| package | before | after |
| --- | --- | --- |
| linux | 6.12.9 | 6.12.58 |
| openssl | 3.5.1 | 3.5.2 |
| jq |  | 1.8 |

- files of the configuration: 4
- closure: 1 MiB, as before

Units, as far as they run:

- restarted: sshd.service
"###);
            let rolled_up = gate.split("\n\n").find(|it| it.starts_with("- "));
            assert_snapshot!(rolled_up.unwrap(), @r###"
- a reboot is needed on 1 of 2 hosts
- units are restarted on all 2 hosts
- openssl 3.5.1 to 3.5.2 on all 2 hosts
- linux 6.12.9 to 6.12.58 on 1 of 2 hosts
- jq 1.8 added on 1 of 2 hosts
"###);
        }
        assert!(orion.contains("; openssl 3.5.1 to 3.5.2; restarts sshd.service\n"), "{orion}");
        assert!(viper.contains("; linux 6.12.9 to 6.12.58 and 2 more packages; needs a reboot"));
        world.assert_nothing_doubled(&after);
    }
}

#[tokio::test]
async fn a_push_of_words_alone_changes_nothing_but_the_revision() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let before = world.push(&both(System::revision), &[("README", "words")]).await;
        world.settled(&before, &NAMES).await;
        let after = world.push(&both(System::revision), &[("README", "other words")]).await;
        world.settled(&after, &NAMES).await;
        for name in &NAMES[1..] {
            says(&world, &after, name, "; nothing but the revision changes\n").await;
        }
        says(&world, &after, "fleet", "nothing but the revision changes on all 2 hosts").await;
        // Of a host that does not name its commit, nothing at all.
        let plain = world.push(&both(|it| it), &[]).await;
        world.settled(&plain, &NAMES).await;
        let same = world.push(&both(|it| it), &[("README", "words again")]).await;
        world.settled(&same, &NAMES).await;
        says(&world, &same, "fleet / orion", "nothing, it is the same system").await;
        says(&world, &same, "fleet", "nothing changes on all 2 hosts").await;
    }
}

#[tokio::test]
async fn a_pull_request_is_compared_with_the_commit_at_which_it_left_its_base() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let left = world.push(&both(|it| it), &[]).await;
        world.settled(&left, &NAMES).await;
        let moved_on = ["orion", "viper"].map(|name| host(&with_openssl(name, "3.5.2")));
        let moved_on = world.push(&moved_on, &[]).await;
        world.settled(&moved_on, &NAMES).await;
        let hosts = both(|it| it.package("jq-1.8"));
        let head = world.commit_onto(Some(&left), "topic", &hosts);
        world.pull_request("opened", 7, &head, From::SameRepository).await;
        world.settled(&head, &NAMES).await;
        let orion = says(&world, &head, "fleet / orion", "What changes").await;
        assert!(orion.contains(&format!("Compared with {}", &left[..7])), "{orion}");
        assert!(orion.contains("| jq |  | 1.8 |"), "{orion}");
        assert!(!orion.contains("openssl"), "what the base did since: {orion}");
    }
}

#[tokio::test]
async fn a_pull_request_built_as_merged_is_compared_with_what_it_is_merged_into() {
    let mut world = World::new().await;
    world.start().await;
    // Each side changes a file of its own, which the one host reads.
    let packages = "(builtins.readFile ./main + builtins.readFile ./topic)";
    let system = with_openssl("orion", "3.5.1").etc(&format!("echo ${{{packages}}} > $out/etc/x"));
    let flake = crate::world::fleet::flake(world.system(), &[host(&system)]);
    let policy = "[build]\npull_requests = \"merge\"\n";
    let files = [("flake.nix", flake.as_str()), ("fleetcheck.toml", policy)];
    let both = [files.as_slice(), &[("main", "a"), ("topic", "a")]].concat();
    let left = world.repo.commit("main", "where they part", &both);
    world.announce("main", &left).await;
    world.settled(&left, &NAMES[..2]).await;
    let moved_on = world.repo.commit("main", "the base moves on", &[("main", "b")]);
    world.announce("main", &moved_on).await;
    world.settled(&moved_on, &NAMES[..2]).await;
    let head = world.repo.commit_onto(Some(&left), "topic", "the change", &[("topic", "b")]);
    world.pull_request("opened", 7, &head, From::SameRepository).await;
    world.settled(&head, &NAMES[..2]).await;
    let orion = says(&world, &head, "fleet / orion", "What changes").await;
    assert!(orion.contains(&format!("Compared with {}", &moved_on[..7])), "{orion}");
    assert!(orion.contains("- files of the configuration: 1"), "{orion}");
    // One that changes nothing there is said to change nothing, whatever main did since.
    let words = world.repo.commit_onto(Some(&left), "words", "words", &[("README", "words")]);
    world.pull_request("opened", 8, &words, From::SameRepository).await;
    world.settled(&words, &NAMES[..2]).await;
    says(&world, &words, "fleet / orion", "nothing, it is the same system").await;
}

#[tokio::test]
async fn a_base_that_is_gone_from_the_store_is_said_to_be() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let before = world.push(&both(|it| it), &[]).await;
        world.settled(&before, &NAMES).await;
        let toplevel =
            world.nix.output("sh", ["-c", "echo $NIX_STORE_DIR/*-nixos-system-orion-26.11"]);
        // Its daemons hold what they built.
        world.stop().await;
        world.nix.output("nix-store", ["--delete", "--ignore-liveness", &toplevel]);
        world.start().await;
        let after = world.push(&both(|it| it.package("jq-1.8")), &[]).await;
        world.settled(&after, &NAMES).await;
        let gone = "the base's system is no longer in the store, and no cache has it";
        says(&world, &after, "fleet / orion", gone).await;
        says(&world, &after, "fleet / viper", "| jq |  | 1.8 |").await;
        says(&world, &after, "fleet", &format!("not compared on 1 of 2 hosts: {gone}")).await;
    }
}

#[tokio::test]
async fn a_commit_whose_base_was_never_built_and_a_new_host_say_so() {
    let mut world = World::new().await;
    let never = world.commit("main", &both(|it| it), &[]);
    world.start().await;
    let first = world.commit("topic", &both(|it| it.package("jq-1.8")), &[]);
    world.pull_request("opened", 7, &first, From::SameRepository).await;
    world.settled(&first, &NAMES).await;
    let text = says(&world, &first, "fleet / orion", "was never built here").await;
    assert!(text.contains(&format!("Not compared with {}", &never[..7])), "{text}");
    let [orion, viper] = both(|it| it);
    let one = world.push(std::slice::from_ref(&orion), &[]).await;
    world.settled(&one, &NAMES[..2]).await;
    let two = world.push(&[orion, viper], &[]).await;
    world.settled(&two, &NAMES).await;
    says(&world, &two, "fleet / viper", "the base commit does not have this host").await;
}

#[tokio::test]
async fn what_changes_is_told_on_the_pages_and_as_json() {
    let mut world = World::new().await;
    world.start().await;
    let before = world.push(&both(|it| it), &[]).await;
    world.settled(&before, &NAMES).await;
    let after = world.push(&both(|it| it.package("jq-1.8")), &[]).await;
    world.settled(&after, &NAMES).await;
    says(&world, &after, "fleet / orion", "jq").await;
    let page = world.check(&after, "fleet / orion").details_url;
    let (_, html) = world.get(&page).await;
    assert!(html.contains("What changes") && html.contains("jq"), "{html}");
    let (_, json) = world.get(&page.replace("/builds/", "/api/v1/builds/")).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let changes = &json["changes"];
    assert_eq!((&changes["insight"], &changes["base"]), (&"changed".into(), &before.into()));
    let wanted = serde_json::json!([{ "name": "jq", "change": "added", "after": ["1.8"] }]);
    assert_eq!(changes["changes"]["packages"], wanted);
    says(&world, &after, "fleet", "jq 1.8 added on all 2 hosts").await;
    let (_, html) = world.get(&world.check(&after, "fleet").details_url).await;
    assert!(html.contains("jq 1.8 added on all 2 hosts"), "{html}");
}
