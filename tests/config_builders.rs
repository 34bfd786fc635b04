//! The builders of the settings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
use fleetcheck::config::{Builder, CheckConfig, Config, ConfigErrors, CopyBack, Environment};

fn load(builders: &str) -> Result<CheckConfig, ConfigErrors> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), builders).unwrap();
    Config::for_check(Some(file.path()), &[("HOME", "/root")].into_iter().collect::<Environment>())
}

#[test]
fn a_builder_is_this_machine_or_another_ones_store() {
    let builders = r#"
[[builder]]
name = "basestar"
store = "ssh-ng://basestar?ssh-key=/run/key"
ssh_options = ["-F", "/etc/fleetcheck/ssh_config"]
systems = ["aarch64-linux"]
features = ["big-parallel"]
mandatory_features = ["nixos-test"]
slots = 4
speed = 2.5
min_free = "10%"
collect = true
copy_back = "closure"
[[builder]]
name = "chroot"
store = "/srv/root"
systems = ["x86_64-linux"]
"#;
    let config = load(builders).unwrap();
    let [far, chroot] = config.builders.as_slice() else { panic!("two builders") };
    let store = far.store.as_ref().unwrap();
    assert_eq!(store.uri, "ssh-ng://basestar?ssh-key=/run/key");
    assert_eq!(store.ssh_options, ["-F", "/etc/fleetcheck/ssh_config"]);
    let ssh = store.ssh.as_ref().unwrap();
    assert_eq!((ssh.host.as_str(), ssh.key.as_deref()), ("basestar", Some("/run/key")));
    assert_eq!((far.slots, far.min_free), (4, 10));
    assert_eq!((far.collect, far.copy_back), (true, CopyBack::Closure));
    assert_eq!((chroot.collect, chroot.copy_back), (false, CopyBack::Never));
    assert_eq!((far.speed.to_string(), chroot.speed.to_string()), ("2.5".into(), "1.0".into()));
    assert_eq!(far.mandatory_features, ["nixos-test"]);
    assert_eq!(chroot.store.as_ref().unwrap().ssh, None);
    assert!(!chroot.features.contains(&"kvm".to_owned()), "nobody looked at that machine");

    for speed in ["0", "-1", "\"fast\"", "1.0001"] {
        let of =
            format!("[[builder]]\nname = \"a\"\nsystems = [\"i686-linux\"]\nspeed = {speed}\n");
        let wrong = load(&of).unwrap_err().to_string();
        assert!(wrong.contains("wanted a number from 0.001 to 1000"), "{wrong}");
    }

    let options = "[[builder]]\nname = \"a\"\nssh_options = [\"-v\"]\nsystems = [\"i686-linux\"]\n";
    let wrong = load(options).unwrap_err().to_string();
    assert!(wrong.contains("ssh has no part in this builder"), "{wrong}");
    let here = "[[builder]]\nname = \"a\"\ncopy_back = \"toplevel\"\ncollect = \"yes\"\nsystems = [\"i686-linux\"]\n";
    let wrong = load(here).unwrap_err().to_string();
    assert!(wrong.contains("what this machine builds is here: remove `copy_back`"), "{wrong}");
    assert!(wrong.contains("`builder[0].collect`: found \"yes\", wanted true or false"), "{wrong}");
}

/// `[builders] file` with this text: the builders, or the mistakes with `@` for the folder.
fn machines(text: &str) -> Result<Vec<Builder>, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("machines");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("more"), "root@viper riscv64-linux\n").unwrap();
    let loaded = load(&format!("[builders]\nfile = {:?}\n", file.display().to_string()));
    let at = folder.path().display().to_string();
    loaded.map(|it| it.builders).map_err(|it| it.to_string().replace(&at, "@"))
}

#[test]
fn machines_are_read_as_nix_reads_them() {
    let text = "# what stands here\n\
        ssh-ng://nix@basestar aarch64-linux,armv7l-linux /run/key 4 2.5 big-parallel,kvm benchmark \
        c3NoLWVkMjU1MTkgQUFBQUMzTnphQzEgcm9vdEBiYXNlc3Rhcgo= # in the cloud\n\
        @more\n@gone\nssh://root@pegasus.example.org - - 0; root@pegasus x86_64-darwin - - - -\n\
        root@pegasus i686-linux\n";
    let all = machines(text).unwrap();
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names[..4], ["basestar", "viper", "pegasus", "pegasus-2"]);
    let basestar = &all[0];
    let store = basestar.store.as_ref().unwrap();
    assert_eq!(store.uri, "ssh-ng://nix@basestar?ssh-key=/run/key");
    let ssh = store.ssh.as_ref().unwrap();
    assert_eq!((ssh.host.as_str(), ssh.key.as_deref()), ("nix@basestar", Some("/run/key")));
    assert_eq!(ssh.host_key.as_deref(), Some("ssh-ed25519 AAAAC3NzaC1"));
    assert_eq!(basestar.systems, ["aarch64-linux", "armv7l-linux"]);
    assert_eq!(basestar.features, ["big-parallel", "kvm"]);
    assert_eq!((basestar.slots, &basestar.mandatory_features[0]), (4, &"benchmark".to_owned()));
    assert_eq!(all[2].store.as_ref().unwrap().uri, "ssh-ng://root@pegasus");
    assert_eq!((all[2].slots, all[2].features.len()), (1, 0));
    let here: Vec<&Builder> = all.iter().filter(|it| it.store.is_none()).collect();
    assert_eq!(here.len(), 1, "nobody else builds for this machine's system");

    let all = machines("root@basestar - - 2").unwrap();
    assert_eq!((all.len(), &all[0].systems), (1, &here[0].systems));
}

#[test]
fn a_mistake_in_the_machines_is_said_with_its_line() {
    let text = "root@a x86_64 - 1\n\nroot@b - - many\nroot@c - - 1 fast; -oProxyCommand=x\n\
                root@d - - 1 1 - - AAAA\nroot@e - - 1 1 - - - more\nroot@f - /run/a;b\n\
                root@g i686-linux - 1 1 a/b\n";
    insta::assert_snapshot!(machines(text).unwrap_err(), @r#"
    7 mistakes in the settings:
      @/machines line 1: found "x86_64" in the list, wanted a list of systems, each ARCH-OS like "x86_64-linux"
      @/machines line 3: found "many", wanted a number of jobs from 0 to 256
      @/machines line 4: found "fast", wanted a speed from 0.001 to 1000, like 1 or 2.5
      @/machines line 4: found "-oProxyCommand=x", wanted a Nix store like "ssh-ng://root@basestar"
      @/machines line 5: found "AAAA", wanted a public host key in base64, as `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub` gives it
      @/machines line 6: found "root@e - - 1 1 - - - more", wanted a store, systems, ssh key, jobs, speed, features, mandatory features and host key, `-` for none
      @/machines line 8: found "a/b" in the list, wanted a list of Nix system features like ["big-parallel"]
    "#);
    let both = "[builders]\nfile = \"/etc/nix/machines\"\n[[builder]]\nname = \"a\"\nsystems = [\"i686-linux\"]\n";
    let said = load(both).unwrap_err().to_string();
    assert!(
        said.contains("`builders.file`: found [[builder]] beside it, wanted only one of"),
        "{said}"
    );
    let gone = load("[builders]\nfile = \"/nowhere/machines\"\n").unwrap_err().to_string();
    assert!(gone.contains("/nowhere/machines: found a file that cannot be read"), "{gone}");
}

#[test]
fn an_instance_s_nix_store_is_one_that_other_machines_reach() {
    let set = |value: &str| load(&format!("[nix]\ninstance_store = \"{value}\"\n"));
    assert_eq!(load("").unwrap().nix.instance_store, None);
    for good in ["ssh-ng://nix@eval-1", "ssh://eval-1?ssh-key=/run/key", "https://eval.example.org"]
    {
        assert_eq!(set(good).unwrap().nix.instance_store.as_deref(), Some(good));
    }
    for bad in ["", "daemon", "/nix/store", "ssh-ng://", "ssh-ng://-oProxyCommand=x", "ssh://a b"] {
        let said = set(bad).unwrap_err().to_string();
        let wanted = "wanted this machine's Nix store as others reach it, like";
        assert!(said.contains("`nix.instance_store`: found") && said.contains(wanted), "{said}");
    }
    let said = set("https://me:hunter2@eval.example.org").unwrap_err().to_string();
    assert!(said.contains("netrc") && !said.contains("hunter2"), "{said}");
}
