//! Tiny systems in the shape of `NixOS`': packages, a kernel, units, without nixpkgs.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::fmt::Write as _;

/// A system of a sample fleet, as an expression of the Nix language in which `mk` makes a
/// derivation from a name and a shell script, and `self` is the flake.
#[derive(Clone)]
pub struct System {
    name: String,
    packages: Vec<String>,
    kernel: String,
    units: Vec<(String, String)>,
    /// More commands that make its `etc`.
    etc: String,
}

impl System {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            packages: vec!["zlib-1.3".to_owned()],
            kernel: "6.12.9".to_owned(),
            units: Vec::new(),
            etc: String::new(),
        }
    }

    /// With a package of this name and version.
    pub fn package(mut self, name: &str) -> Self {
        self.packages.push(name.to_owned());
        self
    }

    pub fn kernel(mut self, version: &str) -> Self {
        version.clone_into(&mut self.kernel);
        self
    }

    /// With a unit whose file is this text, in which `${pkg "NAME-VERSION"}` is a package.
    pub fn unit(mut self, name: &str, text: &str) -> Self {
        self.units.push((name.to_owned(), text.replace('\n', "\\n")));
        self
    }

    /// With its commit and the flake's own files in its `etc`.
    pub fn revision(self) -> Self {
        self.etc("echo ${self.rev} > $out/etc/revision; /bin/ln -s ${self} $out/etc/flake")
    }

    pub fn etc(mut self, script: &str) -> Self {
        writeln!(self.etc, "{script};").unwrap_or_default();
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The toplevel.
    pub fn expression(&self) -> String {
        let Self { name, packages, kernel, units, etc } = self;
        let packages: Vec<String> = packages.iter().map(|it| format!("(pkg \"{it}\")")).collect();
        let packages = packages.join(" ");
        let mut links = String::new();
        for (unit, text) in units {
            let made = format!("/bin/mkdir $out; printf '{text}' > $out/{unit}");
            let path = unit.replace('@', "-");
            write!(links, "/bin/ln -s ${{mk \"unit-{path}\" \"{made}\"}}/{unit} $out/{unit};")
                .unwrap_or_default();
        }
        format!(
            r#"let
        pkg = name: mk name "echo ${{name}} > $out";
        part = name: file: mk name "/bin/mkdir $out; echo ${{name}} > $out/${{file}}";
        sw = mk "system-path" "echo ${{toString [{packages} ]}} > $out";
        units = mk "system-units" "/bin/mkdir $out; {links}";
        etc = mk "etc" "/bin/mkdir -p $out/etc/systemd; /bin/ln -s ${{units}} $out/etc/systemd/system; {etc}";
      in mk "nixos-system-{name}-26.11" ''
        /bin/mkdir $out
        cd $out
        /bin/ln -s ${{sw}} sw
        /bin/ln -s ${{etc}}/etc etc
        /bin/ln -s ${{part "linux-{kernel}" "bzImage"}}/bzImage kernel
        /bin/ln -s ${{part "initrd-linux-{kernel}" "initrd"}}/initrd initrd
        /bin/ln -s ${{part "linux-{kernel}-modules" "lib"}} kernel-modules
        /bin/ln -s ${{pkg "systemd-258"}} systemd
        echo quiet > kernel-params
      ''"#
        )
    }
}
