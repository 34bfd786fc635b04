//! Time and memory have limits, and who hits one is told which.
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::Options;
use crate::world::nix::TestNix;

#[tokio::test]
async fn a_build_over_its_time_is_timed_out_with_the_derivation_named() {
    for nix in TestNix::all() {
        let mut world =
            World::with(nix, Options::default()).await.setting("build_timeout = \"2s\"");
        let mut hold = world.hold("orion");
        world.start().await;
        let chatter = "while true; do echo still here; read -t 1 word < /dev/zero; done";
        let hosts = [
            Host::script("orion", &format!("exec 9> /dev/null; {}", hold.script())),
            Host::script("viper", chatter),
            Host::good("galactica", "1"),
        ];
        let sha = world.push(&hosts, &[]).await;
        hold.runs().await;
        let names = ["fleet", "fleet / galactica", "fleet / orion", "fleet / viper"];
        world.settled(&sha, &names).await;
        hold.is_over().await;
        let expected = "fleet: timed_out: 1 of 3 hosts build; orion: orion was still building after 2 s (nix.build_timeout); 1 more fails
fleet / galactica: success: built in a moment
fleet / orion: timed_out: timed out: orion was still building after 2 s (nix.build_timeout)
fleet / viper: timed_out: timed out: viper was still building after 2 s (nix.build_timeout)
";
        assert_eq!(world.checks(&sha), expected);
        let text = world.check(&sha, "fleet / orion").text;
        assert!(text.contains("-orion.drv"), "{text}");
    }
}

#[tokio::test]
async fn a_silent_build_is_timed_out_with_the_derivation_named() {
    for nix in TestNix::all() {
        let mut world =
            World::with(nix, Options::default()).await.setting("silence_timeout = \"2s\"");
        let mut hold = world.hold("orion");
        world.start().await;
        let sha = world.push(&[Host::held_by("orion", &hold.script())], &[]).await;
        hold.runs().await;
        world.settled(&sha, &["fleet", "fleet / orion"]).await;
        hold.is_over().await;
        let expected = "fleet: timed_out: 0 of 1 host builds; orion: orion was silent for 2 s (nix.silence_timeout)
fleet / orion: timed_out: timed out: orion was silent for 2 s (nix.silence_timeout)
";
        assert_eq!(world.checks(&sha), expected);
        let text = world.check(&sha, "fleet / orion").text;
        assert!(text.contains("waiting"), "the log's last lines are there: {text}");
    }
}

#[tokio::test]
async fn an_evaluation_over_its_time_is_that_host_s_failure_alone() {
    for nix in TestNix::all() {
        let mut world =
            World::with(nix, Options::default()).await.setting("evaluation_timeout = \"3s\"");
        world.start().await;
        let hosts = [Host::good("orion", "1"), Host::endless("raider"), Host::good("viper", "1")];
        let sha = world.push(&hosts, &[]).await;
        let names = ["fleet", "fleet / orion", "fleet / raider", "fleet / viper"];
        world.settled(&sha, &names).await;
        let title = world.check(&sha, "fleet / raider").title;
        assert!(title.contains("3 s"), "{title}");
        let text = world.check(&sha, "fleet / raider").text;
        assert!(text.contains("nix.evaluation_timeout"), "{text}");
        for good in ["fleet / orion", "fleet / viper"] {
            assert_eq!(world.check(&sha, good).conclusion.as_deref(), Some("success"));
        }
    }
}

#[tokio::test]
async fn an_evaluation_over_its_memory_is_that_host_s_failure_alone() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await.setting("memory = \"256 MiB\"");
        world.start().await;
        let eats = r#"mk "raider" "echo ${toString (builtins.length (builtins.genList (x: [ x x x ]) 200000000))} > $out""#;
        let hosts = [Host::good("orion", "1"), Host::new("raider", eats), Host::good("viper", "1")];
        let sha = world.push(&hosts, &[]).await;
        let names = ["fleet", "fleet / orion", "fleet / raider", "fleet / viper"];
        world.settled(&sha, &names).await;
        let check = world.check(&sha, "fleet / raider");
        assert!(check.title.contains("256 MiB"), "{}", check.title);
        assert!(check.text.contains("nix.memory"), "{}", check.text);
        for good in ["fleet / orion", "fleet / viper"] {
            assert_eq!(world.check(&sha, good).conclusion.as_deref(), Some("success"));
        }
    }
}

#[tokio::test]
async fn a_host_that_throws_beside_known_good_ones_stands_alone() {
    for nix in TestNix::all() {
        let mut world = World::with(nix, Options::default()).await;
        world.start().await;
        let fleet = |content: &str| -> Vec<Host> {
            (0..10).map(|it| Host::good(&format!("host-{it}"), content)).collect()
        };
        let mut names: Vec<String> = (0..10).map(|it| format!("fleet / host-{it}")).collect();
        names.push("fleet".to_owned());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let first = world.push(&fleet("1"), &[]).await;
        world.settled(&first, &names).await;
        // Known by now, so they share a process.
        let mut hosts = fleet("2");
        hosts[3] = Host::throws("host-3", "an option is missing");
        let second = world.push(&hosts, &[]).await;
        world.settled(&second, &names).await;
        let gate = world.check(&second, "fleet");
        assert_eq!(gate.title, "9 of 10 hosts build; host-3 (newly broken): an option is missing");
        // Nix 2.8 does not tell the line of a `throw`, but that of who asked for it.
        let [annotation] = &gate.annotations[..] else { panic!("{gate:#?}") };
        assert!(annotation.starts_with("flake.nix:"), "{annotation}");
        assert!(annotation.ends_with(": host-3 does not evaluate"), "{annotation}");
    }
}
