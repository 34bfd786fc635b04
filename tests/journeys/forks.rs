//! Whose commits are built, and what a stranger's may do.
use insta::assert_snapshot;

use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::From;

/// A world whose default branch has this `[trust]`, and the commit of a stranger's pull request.
async fn fork(world: &mut World, trust: &str, hosts: &[Host], more: &[(&str, &str)]) -> String {
    world.start().await;
    let policy = format!("[trust]\n{trust}\n");
    world.commit("main", &[Host::good("orion", "main")], &[("fleetcheck.toml", &policy)]);
    let flake = fleet::flake(world.system(), hosts);
    let mut files = vec![("flake.nix", flake.as_str())];
    files.extend_from_slice(more);
    let main = world.repo.head("main");
    world.repo.commit_onto(main.as_deref(), "topic", "a stranger's change", &files)
}

/// Whether anything of a commit ever reached this machine.
pub(crate) fn is_here(world: &World, sha: &str) -> bool {
    let mirror = world.directory().join(format!("state/mirrors/{}.git", world.repo.id));
    let found = std::process::Command::new("git")
        .arg("--git-dir")
        .arg(mirror)
        .args(["cat-file", "-e", sha])
        .stderr(std::process::Stdio::null())
        .status();
    found.unwrap().success()
}

#[tokio::test]
async fn a_stranger_s_commit_is_neither_fetched_nor_built_before_it_is_approved() {
    let mut world = World::new().await;
    let touched = world.directory().join("touched");
    let hosts = [Host::counted("orion", &touched)];
    // What it says of itself counts for nothing.
    let own = [("fleetcheck.toml", "[trust]\nforks = \"build\"\n")];
    let sha = fork(&mut world, "", &hosts, &own).await;
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.settled(&sha, &["fleet"]).await;
    world.caught_up().await;
    assert_eq!(
        world.checks(&sha),
        "fleet: action_required: waits for approval: this commit comes from a fork\n"
    );
    assert!(!is_here(&world, &sha) && !touched.exists());
}

#[tokio::test]
async fn where_forks_are_built_a_stranger_s_commit_is_built_apart_and_marked() {
    let mut world = World::new().await;
    let mut hold = world.hold("orion");
    let generated =
        "import (mk \"generated\" \"echo {} > $out\") // mk \"viper\" \"echo viper > $out\"";
    let hosts = [Host::held_by("orion", &hold.script()), Host::new("viper", generated)];
    let sha = fork(&mut world, "forks = \"build\"", &hosts, &[]).await;
    world.pull_request("opened", 7, &sha, From::Fork).await;
    hold.runs().await;
    let roots: Vec<String> = std::fs::read_dir(world.directory().join("state/gcroots"))
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!roots.is_empty() && roots.iter().all(|it| it.starts_with("untrusted-")), "{roots:?}");
    hold.let_go();
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    let shown = world.checks(&sha);
    assert!(shown.contains("fleet / orion: success"), "{shown}");
    let refused = "fleet / viper: failure: import from derivation is off for a fork's commit";
    assert!(shown.contains(refused), "{shown}");
    let marks = "from a fork: evaluated without import from derivation and network";
    assert!(world.check(&sha, "fleet / orion").summary.contains(marks));
    assert!(world.check(&sha, "fleet").summary.contains("From a fork: evaluated without import"));
    let (owner, name) = (&world.repo.owner, &world.repo.name);
    let url = world.url(&format!("/api/v1/runs?repo={owner}/{name}&sha={sha}"));
    assert!(world.get(&url).await.1.contains("\"trust\":\"untrusted\""));
}

#[tokio::test]
async fn where_forks_are_never_built_their_author_is_told_so() {
    let mut world = World::new().await;
    let sha = fork(&mut world, "forks = \"never\"", &[Host::good("orion", "1")], &[]).await;
    world.github.set_permission(&world.repo, "octo-fleet", "write");
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.settled(&sha, &["fleet"]).await;
    world.caught_up().await;
    assert_snapshot!(world.checks(&sha), @"fleet: failure: pull requests from forks are not built here");
    assert!(!is_here(&world, &sha));
}

#[tokio::test]
async fn who_has_write_access_and_pushes_to_a_fork_needs_nobody_s_approval() {
    let mut world = World::new().await;
    let sha = fork(&mut world, "", &[Host::good("orion", "1")], &[]).await;
    world.github.set_permission(&world.repo, "octo-fleet", "write");
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.settled(&sha, &["fleet", "fleet / orion"]).await;
    assert_eq!(world.check(&sha, "fleet").conclusion.as_deref(), Some("success"));
    assert!(world.check(&sha, "fleet").summary.contains("From a fork"), "still not believed");
    // The next one is a stranger's.
    world.github.set_permission(&world.repo, "octo-fleet", "read");
    let next = world.commit("topic", &[Host::good("orion", "2")], &[]);
    world.pull_request("synchronize", 7, &next, From::Fork).await;
    world.settled(&next, &["fleet"]).await;
    assert_eq!(world.check(&next, "fleet").conclusion.as_deref(), Some("action_required"));
}

#[tokio::test]
async fn a_stranger_s_lock_file_cannot_name_a_repository_of_this_machine() {
    let mut world = World::new().await;
    let lock = r#"{"version":7,"root":"root","nodes":{"root":{"inputs":{"x":"x"}},"x":{"locked":{
        "type":"git","url":"file:///srv/secret","rev":"a72d670ae79333b658965602c9f640d04b259895",
        "narHash":"sha256-lrkB+qsjDv0vVxq+2mcXAIHROw4ECqt9k9hTxMaZKTk="}}}}"#;
    let more = [("flake.lock", lock)];
    let sha = fork(&mut world, "forks = \"build\"", &[Host::good("orion", "1")], &more).await;
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.settled(&sha, &["fleet"]).await;
    assert_snapshot!(world.checks(&sha), @"fleet: failure: flake.lock: the input `x` is at `file:///srv/secret`; a fork may bring inputs that are public and fetched over https, and those that the base branch's flake.lock has");
}

#[tokio::test]
async fn a_stranger_s_commit_is_merged_and_has_the_inputs_that_the_base_branch_has() {
    let mut world = World::new().await;
    world.start().await;
    // An input on this machine: let in because the base branch locks the very same.
    let lib = world.directory().join("lib");
    let git = |args: &[&str]| {
        let id = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        let done =
            std::process::Command::new("git").arg("-C").arg(&lib).args(id).args(args).output();
        assert!(done.unwrap().status.success(), "{args:?}");
    };
    std::fs::create_dir(&lib).unwrap();
    std::fs::write(lib.join("flake.nix"), "{ outputs = { self }: { word = \"hello\"; }; }\n")
        .unwrap();
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "x"]);
    let flake = format!(
        r#"{{
  inputs.lib.url = "git+file://{}";
  outputs = {{ self, lib }}: {{
    nixosConfigurations.orion.config.system.build.toplevel = derivation {{
      name = "orion"; system = "{}"; builder = "/bin/sh";
      args = [ "-c" "echo ${{lib.word}} ${{self.rev}} > $out" ];
    }};
  }};
}}
"#,
        lib.display(),
        world.system()
    );
    let folder = world.directory().join("flake");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("flake.nix"), &flake).unwrap();
    let locked = world.nix.command("nix", ["flake", "lock"]).current_dir(&folder).output();
    assert!(locked.unwrap().status.success());
    let lock = std::fs::read_to_string(folder.join("flake.lock")).unwrap();
    let policy = "[trust]\nforks = \"build\"\n[build]\npull_requests = \"merge\"\n";
    let files = [("flake.nix", &*flake), ("flake.lock", &*lock), ("fleetcheck.toml", policy)];
    let fork = world.repo.commit("main", "where they part", &files);
    let head = world.repo.commit_onto(Some(&fork), "topic", "a stranger's", &[("a", "1")]);
    let main = world.repo.commit("main", "the base moves on", &[("b", "1")]);
    world.pull_request("opened", 7, &head, From::Fork).await;
    world.settled(&head, &["fleet", "fleet / orion"]).await;
    let title = format!("fleet: success: 1 host builds, as merged into main at {}\n", &main[..7]);
    assert!(world.checks(&head).starts_with(&title), "{}", world.checks(&head));
}

#[tokio::test]
async fn an_approval_holds_for_later_pushes_only_where_it_is_sticky() {
    for (trust, wanted) in [("", "action_required"), ("sticky = true", "success")] {
        let mut world = World::new().await;
        world.github.set_permission(&world.repo, "starbuck", "write");
        let sha = fork(&mut world, trust, &[Host::good("orion", "1")], &[]).await;
        world.parked(&sha).await;
        world.press(&sha, "fleet", "approve", "starbuck").await;
        world.concluded(&sha, "fleet", "success").await;
        let next = world.commit("topic", &[Host::good("orion", "2")], &[]);
        world.pull_request("synchronize", 7, &next, From::Fork).await;
        world.concluded(&next, "fleet", wanted).await;
        world.caught_up().await;
        assert_eq!(world.check(&next, "fleet").conclusion.as_deref(), Some(wanted), "{trust}");
    }
}

#[tokio::test]
async fn what_is_never_built_is_not_built_by_a_re_run_and_an_approval_either() {
    let mut world = World::new().await;
    world.github.set_permission(&world.repo, "starbuck", "write");
    let sha = fork(&mut world, "forks = \"never\"", &[Host::good("orion", "1")], &[]).await;
    world.pull_request("opened", 7, &sha, From::Fork).await;
    world.concluded(&sha, "fleet", "failure").await;
    let gate = world.check(&sha, "fleet");
    assert_eq!(world.github.press_rerun(&world.repo, &gate).await, Some(202));
    world.concluded(&sha, "fleet", "action_required").await;
    world.press(&sha, "fleet", "approve", "starbuck").await;
    world.says(&sha, "fleet", "forks are not built here").await;
    world.caught_up().await;
    assert!(!is_here(&world, &sha));
}
