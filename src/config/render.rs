//! The effective settings as TOML, secrets sealed, with a remark on where each came from.
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::load::Loaded;
use crate::config::{Builder, CopyBack, MachinesFile, Sealed};

impl Loaded {
    /// TOML that gives the same settings when it is read again, apart from what is sealed.
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = Page { loaded: self, section: "", text: String::new() };
        let (http, github) = (&self.config.http, &self.config.github);
        page.section("http");
        page.line("listen", &quote(&http.listen.to_string()));
        page.line("public_url", &quote(&http.public_url));
        if let Some(url) = &http.instance_url {
            page.line("instance_url", &quote(url));
        }
        page.section("github");
        page.line("app_id", &github.app_id.to_string());
        page.keys("private_key_file", &self.private_key_files);
        page.line("webhook_secret_files", &list(&self.webhook_secret_files, |it| quote_path(it)));
        page.line("api_url", &quote(&github.api_url));
        page.line("git_url", &quote(&github.git_url));
        page.line("owners", &list(&github.owners, |it| quote(it)));
        page.line("check_name", &quote(&github.check_name));
        page.line("checks_limit", &github.checks_limit.to_string());
        page.line("recover_interval", &quote(&time(github.recover_interval)));
        if let Some(app) = &github.updater {
            page.line("updater_app_id", &app.app_id.to_string());
            page.keys("updater_private_key_file", &app.files);
        }
        page.section("store");
        page.line("url", &quote(&seal_password(&self.config.store.url)));
        page.line("directory", &quote_path(&self.config.store.directory));
        page.logs();
        page.nix();
        match &self.config.machines {
            None => page.builders(&self.config.builders),
            Some(file) => page.machines(file, &self.config.builders),
        }
        page.text
    }
}

struct Page<'l> {
    loaded: &'l Loaded,
    section: &'static str,
    text: String,
}

impl Page<'_> {
    fn section(&mut self, name: &'static str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.section = name;
        self.push(format_args!("{gap}[{name}]\n"));
    }

    fn line(&mut self, key: &str, value: &str) {
        let origin = self.origin(&format!("{}.{key}", self.section));
        self.push(format_args!("{key} = {value}  # {origin}\n"));
    }

    /// A file under this key, or several under its plural.
    fn keys(&mut self, key: &str, files: &[PathBuf]) {
        let several = format!("{key}s");
        let is_list = self.loaded.origins.contains_key(&format!("{}.{several}", self.section));
        match files {
            [one] if !is_list => self.line(key, &quote_path(one)),
            files => self.line(&several, &list(files, |it| quote_path(it))),
        }
    }

    /// There is nothing to show where there is no bucket.
    fn logs(&mut self) {
        let Some(bucket) = &self.loaded.config.logs.bucket else { return };
        self.section("logs");
        self.line("url", &quote(&bucket.url()));
        for (key, value) in [("endpoint", &bucket.endpoint), ("region", &bucket.region)] {
            if let Some(value) = value {
                self.line(key, &quote(value));
            }
        }
        if let Some(keys) = &bucket.keys {
            self.line("access_key_id", &quote(&keys.access_key_id));
            self.line("secret_access_key_file", &quote_path(&keys.file));
        }
    }

    fn nix(&mut self) {
        let nix = &self.loaded.config.nix;
        self.section("nix");
        self.line("program", &quote_path(&nix.program));
        self.line("evaluations", &nix.evaluations.to_string());
        self.line("memory", &quote(&size(nix.memory)));
        self.line("evaluation_memory", &quote(&size(nix.evaluation_memory)));
        self.line("evaluation_timeout", &quote(&time(nix.evaluation_timeout)));
        self.line("build_timeout", &quote(&time(nix.build_timeout)));
        self.line("silence_timeout", &quote(&time(nix.silence_timeout)));
        self.line("retries", &nix.retries.to_string());
        self.line("failure_memory", &quote(&time(nix.failure_memory)));
        self.line("unplaceable_after", &quote(&time(nix.unplaceable_after)));
        if let Some(store) = &nix.instance_store {
            self.line("instance_store", &quote(store));
        }
    }

    /// What the file says, as remarks: it is the file that counts.
    fn machines(&mut self, file: &MachinesFile, builders: &[Builder]) {
        self.section("builders");
        self.line("file", &quote_path(&file.path));
        for Builder { name, store, systems, slots, .. } in builders {
            let store = store.as_ref().map_or("this machine", |it| it.uri.as_str());
            let systems = systems.join(", ");
            self.push(format_args!("# {name}: {store}; {systems}; slots: {slots}\n"));
        }
    }

    fn builders(&mut self, builders: &[Builder]) {
        for (index, builder) in builders.iter().enumerate() {
            let words = |items: &[String]| list(items, |it| quote(it));
            let mut lines = vec![("name", quote(&builder.name))];
            if let Some(store) = &builder.store {
                lines.push(("store", quote(&store.uri)));
                if store.ssh.is_some() {
                    lines.push(("ssh_options", words(&store.ssh_options)));
                }
            }
            lines.extend([
                ("systems", words(&builder.systems)),
                ("features", words(&builder.features)),
                ("mandatory_features", words(&builder.mandatory_features)),
                ("slots", builder.slots.to_string()),
                ("speed", builder.speed.to_string()),
                ("min_free", quote(&format!("{}%", builder.min_free))),
                ("collect", builder.collect.to_string()),
            ]);
            if builder.store.is_some() {
                let word = match builder.copy_back {
                    CopyBack::Never => "never",
                    CopyBack::Toplevel => "toplevel",
                    CopyBack::Closure => "closure",
                };
                lines.push(("copy_back", quote(word)));
            }
            self.push(format_args!("\n[[builder]]\n"));
            for (key, value) in lines {
                let origin = self.origin(&format!("builder[{index}].{key}"));
                self.push(format_args!("{key} = {value}  # {origin}\n"));
            }
        }
    }

    fn origin(&self, key: &str) -> String {
        match self.loaded.origins.get(key) {
            None => "default".to_owned(),
            // A path may hold any character; a remark ends with its line.
            Some(place) => place.to_string().escape_debug().to_string(),
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a `String` cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

fn list<T>(items: &[T], quote: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(quote).collect();
    format!("[{}]", items.join(", "))
}

/// In the largest unit that gives the very number.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    UNITS
        .iter()
        .find(|(_, shift)| bytes.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{bytes} B"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The store's address with `(sealed)` for the password, wherever it stands.
fn seal_password(url: &Sealed) -> String {
    let url = url.reveal();
    if !url.starts_with("postgres") {
        return url.to_owned();
    }
    let Ok(mut parsed) = url.parse::<reqwest::Url>() else { return "(sealed)".to_owned() };
    let in_query = parsed.query_pairs().any(|(key, _)| key.eq_ignore_ascii_case("password"));
    if in_query {
        return "(sealed)".to_owned();
    }
    if parsed.password().is_some() && parsed.set_password(Some("(sealed)")).is_err() {
        return "(sealed)".to_owned();
    }
    parsed.to_string()
}
