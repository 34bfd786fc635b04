//! Settings: every mistake is said at once, with its place; no secret is ever repeated.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fleetcheck::config::{Config, ConfigErrors, Environment, Loaded, Sealed};

/// A folder with a key, a webhook secret and settings that are right.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("key.pem"), KEY).unwrap();
        fs::write(folder.path("webhook"), "hush\n").unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `@/` stands for this folder's.
    fn write(&self, settings: &str) -> PathBuf {
        let file = self.path("fleetcheck.toml");
        fs::write(&file, settings.replace("@/", &format!("{}/", self.0.path().display()))).unwrap();
        file
    }

    fn load(&self, settings: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        Config::load(Some(&self.write(settings)), &env.iter().copied().collect())
    }

    /// The mistakes as a person reads them, the folder as `@`.
    fn mistakes(&self, settings: &str, env: &[(&str, &str)]) -> Vec<String> {
        let errors = self.load(settings, env).unwrap_err();
        let folder = self.0.path().to_str().unwrap();
        errors.0.iter().map(|mistake| mistake.to_string().replace(folder, "@")).collect()
    }
}

/// Made for these tests; no App has it.
const KEY: &str = include_str!("../fixtures/keys/not-a-secret.pem");

/// And another one.
const ANOTHER_KEY: &str = include_str!("../fixtures/keys/another-not-a-secret.pem");

const GOOD: &str = r#"
[http]
public_url = "https://fleet.example.org/"
[github]
app_id = 12345
private_key_file = "@/key.pem"
webhook_secret_files = ["@/webhook"]
owners = ["Acme", "acme"]
"#;

#[test]
fn a_short_file_gets_the_documented_defaults() {
    let config = Folder::new().load(GOOD, &[]).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.public_url, "https://fleet.example.org");
    assert_eq!(config.github.owners, ["acme"]);
    assert_eq!(config.github.api_url, "https://api.github.com");
    assert_eq!(config.github.git_url, "https://github.com");
    assert_eq!(config.github.check_name, "fleet");
    assert_eq!(config.github.checks_limit, 60);
    assert_eq!(config.github.webhook_secrets[0].reveal(), "hush", "one newline is trimmed");
    assert_eq!(config.store.url.reveal(), "sqlite:/var/lib/fleetcheck/fleetcheck.db");
    assert_eq!(config.store.directory, Path::new("/var/lib/fleetcheck"));
    assert_eq!(config.nix.program, Path::new("nix"));
    assert_eq!(config.nix.evaluations, 2);
    assert!(config.nix.memory >= 1 << 20, "70% of this machine's");
    assert_eq!(config.nix.evaluation_memory, 6 << 30);
    assert_eq!(config.nix.evaluation_timeout, Duration::from_mins(15));
    assert_eq!(config.nix.build_timeout, Duration::from_hours(2));
    assert_eq!(config.nix.silence_timeout, Duration::from_mins(20));
    assert_eq!(config.nix.retries, 3);
    assert_eq!(config.nix.failure_memory, Duration::from_hours(1));
    assert_eq!(config.nix.unplaceable_after, Duration::from_hours(24));
    let [builder] = config.builders.as_slice() else { panic!("one builder: this machine") };
    assert_eq!((builder.name.as_str(), builder.slots), ("local", 2));
    assert!(builder.systems[0].contains('-'));
    assert!(builder.features.contains(&"big-parallel".to_owned()), "as Nix has it by default");
}

#[test]
fn the_environment_overrides_the_file() {
    let env = [
        ("FLEETCHECK__GITHUB__APP_ID", "7"),
        ("FLEETCHECK__GITHUB__OWNERS", "one, two"),
        ("FLEETCHECK__NIX__EVALUATION_MEMORY", "512 MiB"),
        ("FLEETCHECK__BUILDER", r#"[{name = "big", systems = ["aarch64-linux"], slots = 9}]"#),
        ("FLEETCHECK_LOG", "json"),
        ("PATH", "/bin"),
    ];
    let config = Folder::new().load(GOOD, &env).unwrap();
    assert_eq!(config.github.app_id, 7);
    assert_eq!(config.github.owners, ["one", "two"]);
    assert_eq!(config.nix.evaluation_memory, 512 << 20);
    assert_eq!(config.builders[0].systems, ["aarch64-linux"]);
    assert_eq!(config.builders[0].slots, 9);
}

#[test]
fn the_environment_alone_is_enough() {
    let folder = Folder::new();
    let (key, secrets) = (folder.path("key.pem"), folder.path("webhook"));
    let env: Environment = [
        // A test machine may have an /etc/fleetcheck.toml; an empty file is no settings.
        ("FLEETCHECK_CONFIG", folder.write("").to_str().unwrap()),
        ("FLEETCHECK__HTTP__PUBLIC_URL", "http://127.0.0.1:8080"),
        ("FLEETCHECK__GITHUB__APP_ID", "1"),
        ("FLEETCHECK__GITHUB__PRIVATE_KEY_FILE", key.to_str().unwrap()),
        ("FLEETCHECK__GITHUB__WEBHOOK_SECRET_FILES", secrets.to_str().unwrap()),
        ("FLEETCHECK__GITHUB__OWNERS", r#"["acme"]"#),
        ("FLEETCHECK__GITHUB__API_URL", "http://localhost:9/api/v3/"),
    ]
    .into_iter()
    .collect();
    let config = Config::load(None, &env).unwrap();
    assert_eq!(config.github.api_url, "http://localhost:9/api/v3");
}

#[test]
fn every_mistake_is_listed_with_its_place_not_only_the_first() {
    let folder = Folder::new();
    fs::write(folder.path("empty"), "\n").unwrap();
    let settings = r#"
[http]
listen = "localhost"
public_url = "fleet.example.org"
[github]
app_id = "twelve"
private_key_file = "@/webhook"
webhook_secret_files = ["@/empty", "@/absent"]
api_url = "http://ghe.example.org/api/v3"
git_url = "ftp://github.com"
owners = []
chek_name = "x"
[store]
url = "mysql://root:hunter2@db/fleet"
directory = "var"
[nix]
evaluations = 0
evaluation_memory = 6
evaluation_timeout = "0s"
program = true
[[builder]]
name = "a b"
systems = ["x86_64"]
[[builder]]
name = "far"
store = "ssh://root@far"
ssh_options = ["-o Port=22"]
systems = ["aarch64-linux"]
slots = 257
min_free = 5
[[builder]]
name = "far"
[bulder]
slots = 1
"#;
    let env = [("FLEETCHECK__NIX__BUILD_TIMEOUT", "soon"), ("FLEETCHECK__GITHUB__APPID", "5")];
    let mistakes = folder.mistakes(settings, &env);
    insta::assert_snapshot!(mistakes.join("\n"));
    assert!(!mistakes.concat().contains("hunter2"), "a password is not repeated");
}

#[test]
fn a_file_that_is_not_toml_is_said_with_every_line_that_is_not() {
    let mistakes = Folder::new().mistakes("[http]\nlisten = \n[github\napp_id = 1\n", &[]);
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].starts_with("@/fleetcheck.toml line 2: "), "{mistakes:?}");
    assert!(mistakes[1].starts_with("@/fleetcheck.toml line 3: "), "{mistakes:?}");
}

#[test]
fn a_file_that_is_not_there_is_said_with_its_name() {
    let error = Config::load(Some(Path::new("/nowhere/f.toml")), &Environment::default());
    assert!(error.unwrap_err().to_string().contains("/nowhere/f.toml: found a file that cannot"));
}

#[test]
fn a_key_that_is_not_a_key_is_named_with_what_it_is() {
    let folder = Folder::new();
    let public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
    let broken = KEY.replace('A', "B");
    for (content, said) in [
        ("", "which holds nothing"),
        ("not a key at all", "which holds 16 bytes that are no PEM"),
        (public, "which holds a PEM \"PUBLIC KEY\" that cannot sign as RSA"),
        (&broken, "that cannot sign as RSA"),
    ] {
        fs::write(folder.path("key.pem"), content).unwrap();
        let mistakes = folder.mistakes(GOOD, &[]);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(said), "{mistakes:?}");
        assert!(mistakes[0].contains("@/key.pem") && mistakes[0].contains("Private keys"));
    }
}

/// The good settings with these lines about keys.
fn with_keys(lines: &str) -> String {
    GOOD.replace("private_key_file = \"@/key.pem\"", lines)
}

#[test]
fn an_app_may_have_one_key_or_several_the_newest_first() {
    let folder = Folder::new();
    fs::write(folder.path("next.pem"), ANOTHER_KEY).unwrap();
    let several = with_keys("private_key_files = [\"@/next.pem\", \"@/key.pem\"]");
    let config = folder.load(&several, &[]).unwrap();
    let keys: Vec<&str> = config.github.private_keys.iter().map(Sealed::reveal).collect();
    assert_eq!(keys, [ANOTHER_KEY, KEY]);
    let printed = Loaded::load(Some(&folder.write(&several)), &Environment::default());
    let printed = printed.unwrap().render().replace(folder.0.path().to_str().unwrap(), "@");
    assert!(printed.contains("private_key_files = [\"@/next.pem\", \"@/key.pem\"]"), "{printed}");
    let one = folder.load(&with_keys("private_key_files = [\"@/key.pem\"]"), &[]).unwrap();
    assert_eq!(one.github.private_keys.len(), 1);
}

#[test]
fn keys_that_cannot_be_used_are_all_named() {
    let folder = Folder::new();
    let said = |lines: &str| folder.mistakes(&with_keys(lines), &[]).join("\n");
    insta::assert_snapshot!(said(""), @r#"@/fleetcheck.toml: `github.private_key_file`: found nothing, wanted a value: this setting has no default; add `private_key_file = "/run/credentials/fleetcheck.service/github-app.pem"`"#);
    insta::assert_snapshot!(
        said("private_key_file = \"@/key.pem\"\nprivate_key_files = [\"@/key.pem\"]"), @"@/fleetcheck.toml line 7: `github.private_key_files`: found `private_key_file` beside it, wanted only one of `private_key_files` and `private_key_file`; take `private_key_file` away and name its file in `private_key_files`"
    );
    insta::assert_snapshot!(said("private_key_files = []"), @"@/fleetcheck.toml line 6: `github.private_key_files`: found an empty list, wanted a list of absolute paths of files, each with a key of the App");
    insta::assert_snapshot!(said("private_key_files = \"@/key.pem\""), @r#"@/fleetcheck.toml line 6: `github.private_key_files`: found "@/key.pem", wanted a list of absolute paths of files, each with a key of the App"#);
    insta::assert_snapshot!(said("private_key_file = \"@/absent.pem\""), @r#"@/fleetcheck.toml line 6: `github.private_key_file`: found "@/absent.pem", which cannot be read (No such file or directory (os error 2)), wanted a file that can be read; write it there, readable by the user that runs fleetcheck"#);
    insta::assert_snapshot!(
        said("private_key_files = [\"@/absent.pem\", \"@/key.pem\", \"@/webhook\"]"), @r#"@/fleetcheck.toml line 6: `github.private_key_files`: found "@/absent.pem", which cannot be read (No such file or directory (os error 2)) and "@/webhook", which holds 5 bytes that are no PEM, wanted a list of absolute paths of files, each with a key of the App; each must be an RSA key as PEM, readable for fleetcheck, as the App's settings page makes them under "Private keys""#
    );
}

#[test]
fn how_often_deliveries_are_looked_for_is_a_time_within_a_day() {
    let folder = Folder::new();
    let set = |value: &str| format!("{GOOD}recover_interval = {value}\n");
    assert_eq!(folder.load(GOOD, &[]).unwrap().github.recover_interval, Duration::from_mins(5));
    for (value, seconds) in [("\"1s\"", 1), ("\"90s\"", 90), ("\"24h\"", 86_400)] {
        let config = folder.load(&set(value), &[]).unwrap();
        assert_eq!(config.github.recover_interval, Duration::from_secs(seconds), "{value}");
    }
    for wrong in ["\"0s\"", "\"25h\"", "\"5\"", "300", "\"often\"", "true"] {
        let mistakes = folder.mistakes(&set(wrong), &[]);
        assert_eq!(mistakes.len(), 1, "{wrong}: {mistakes:?}");
        assert!(mistakes[0].contains("line 9: `github.recover_interval`: found "), "{mistakes:?}");
        assert!(mistakes[0].contains("from \"1s\" to \"24h\""), "{mistakes:?}");
    }
}

#[test]
fn how_many_checks_a_run_may_have_is_a_number_up_to_a_thousand() {
    let folder = Folder::new();
    let set = |value: &str| format!("{GOOD}checks_limit = {value}\n");
    assert_eq!(folder.load(GOOD, &[]).unwrap().github.checks_limit, 60);
    for limit in [1, 60, 1000] {
        let config = folder.load(&set(&limit.to_string()), &[]).unwrap();
        assert_eq!(config.github.checks_limit, limit);
    }
    let env = [("FLEETCHECK__GITHUB__CHECKS_LIMIT", "7")];
    assert_eq!(folder.load(&set("60"), &env).unwrap().github.checks_limit, 7);
    for wrong in ["0", "1001", "-1", "\"many\"", "1.5"] {
        let mistakes = folder.mistakes(&set(wrong), &[]);
        assert_eq!(mistakes.len(), 1, "{wrong}: {mistakes:?}");
        assert!(mistakes[0].contains("line 9: `github.checks_limit`: found "), "{mistakes:?}");
        assert!(mistakes[0].contains("from 1 to 1000"), "{mistakes:?}");
    }
}

#[test]
fn a_secret_in_place_of_its_file_is_not_repeated() {
    let folder = Folder::new();
    let settings = GOOD
        .replace("\"@/webhook\"", "\"hunter2\"")
        .replace("\"@/key.pem\"", "\"\"\"-----BEGIN RSA PRIVATE KEY-----\nhunter2\"\"\"");
    let mistakes = folder.mistakes(&settings, &[]);
    assert_eq!(mistakes.len(), 2);
    assert!(!mistakes.concat().contains("hunter2"), "{mistakes:?}");
}

#[test]
fn http_is_for_loopback_only() {
    let folder = Folder::new();
    for good in ["http://127.0.0.1:8999", "http://[::1]:8999", "http://localhost:8999"] {
        let env = [("FLEETCHECK__GITHUB__API_URL", good), ("FLEETCHECK__GITHUB__GIT_URL", good)];
        assert_eq!(folder.load(GOOD, &env).unwrap().github.git_url, good);
    }
    for bad in ["http://127.0.0.1.example.org", "http://10.0.0.1", "http://localhost.evil.org"] {
        let env = [("FLEETCHECK__GITHUB__API_URL", bad), ("FLEETCHECK__GITHUB__GIT_URL", bad)];
        assert_eq!(folder.mistakes(GOOD, &env).len(), 2, "{bad}");
    }
}

#[test]
fn what_config_prints_gives_the_same_settings_again() {
    let folder = Folder::new();
    let file = folder.write(GOOD);
    let url = ("FLEETCHECK__STORE__URL", "postgres://fleet:hunter2@db/fleet");
    let lent = ("FLEETCHECK__NIX__INSTANCE_STORE", "ssh-ng://nix@eval-1");
    let env: Environment = [url, lent].into_iter().collect();
    let first = Loaded::load(Some(&file), &env).unwrap();
    let printed = first.render();
    assert!(!printed.contains("hunter2") && !printed.contains("hush"), "{printed}");
    assert!(printed.contains("postgres://fleet:(sealed)@db/fleet"), "{printed}");
    assert!(printed.contains("# FLEETCHECK__STORE__URL"), "{printed}");
    assert!(printed.contains("instance_store = \"ssh-ng://nix@eval-1\""), "{printed}");
    assert!(printed.contains("app_id = 12345  # ") && printed.contains("line 5"), "{printed}");
    fs::write(&file, &printed).unwrap();
    let again = Loaded::load(Some(&file), &Environment::default()).unwrap();
    let without_remarks = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(without_remarks(&again.render()), without_remarks(&printed));
}

#[test]
fn check_needs_neither_github_nor_a_store_but_refuses_unknown_keys() {
    let folder = Folder::new();
    let env: Environment = [("XDG_CACHE_HOME", "/home/me/.cache")].into_iter().collect();
    let file = folder.write("[nix]\nevaluations = 3\n[github]\nprivate_key_file = \"/absent\"\n");
    let config = Config::for_check(Some(&file), &env).unwrap();
    assert_eq!(config.nix.evaluations, 3);
    assert_eq!(config.scratch, Path::new("/home/me/.cache/fleetcheck"));
    let file = folder.write("[github]\nprivate_key = \"hunter2\"\n");
    let error = Config::for_check(Some(&file), &env).unwrap_err().to_string();
    assert!(error.contains("did you mean `github.private_key_file`?"), "{error}");
    assert!(!error.contains("hunter2"));
}

#[test]
fn the_example_settings_are_right_once_their_files_exist() {
    let folder = Folder::new();
    let example = fs::read_to_string("deploy/fleetcheck.toml").unwrap();
    let settings = example
        .replace("/run/credentials/fleetcheck.service/github-app.pem", "@/key.pem")
        .replace("/run/credentials/fleetcheck.service/webhook", "@/webhook");
    folder.load(&settings, &[]).unwrap();
    // Every key of the settings is in the example, given or as a remark.
    for line in
        Loaded::load(Some(&folder.write(GOOD)), &Environment::default()).unwrap().render().lines()
    {
        if let Some((key, _)) = line.split_once(" = ") {
            assert!(example.contains(&format!("{key} = ")), "deploy/fleetcheck.toml lacks {key}");
        }
    }
}

#[test]
fn every_default_in_the_examples_remarks_is_accepted() {
    let folder = Folder::new();
    let example = fs::read_to_string("deploy/fleetcheck.toml").unwrap();
    let settings: Vec<&str> = example
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let settings = settings
        .join("\n")
        .replace("/run/credentials/fleetcheck.service/github-app.pem", "@/key.pem")
        .replace("/run/credentials/fleetcheck.service/webhook", "@/webhook");
    folder.load(&settings, &[]).unwrap();
}

#[test]
fn the_program_says_every_mistake_and_ends_with_2() {
    let folder = Folder::new();
    let file = folder.write("[github]\napp_id = 0\n");
    for command in ["serve", "config"] {
        let output = Command::new(env!("CARGO_BIN_EXE_fleetcheck"))
            .args([command, "--config", file.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("5 mistakes in the settings"), "{command}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&["dance"][..], &["check", "--host"], &["serve", "extra"], &[]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_fleetcheck")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
