# shellcheck shell=bash
# What demo.sh and tests/run.sh share: looking for programs, installing what is missing. Sourced.
# Wants: root, the repository's folder.

# say LINE…: for the reader, apart from what programs print.
say() { printf '%s\n' "$@" >&2; }

# die TEXT…: says what is wrong and what to do, and ends.
die() {
  printf '\n%s\n' "$@" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_debian_like() { have apt-get && have dpkg-deb; }

# Where a user without root keeps what is installed for them.
cache_folder() { printf '%s/fleetcheck' "${XDG_CACHE_HOME:-$HOME/.cache}"; }

# apt_install PACKAGE…: as root.
apt_install() {
  say "installing $* (apt)"
  local log
  log=$(mktemp)
  if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "apt could not install: $*"
  fi
  rm -f "$log"
}

# without_services COMMAND…: what it installs has its programs here, and no daemon that runs, now or
# after the next start of this machine.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    # shellcheck disable=SC2064  # its name, as it is now
    trap "rm -f $policy" EXIT
  fi
  local had_sshd=false
  [[ -x /usr/sbin/sshd ]] && had_sshd=true
  "$@"
  if ! $had_sshd && have systemctl; then systemctl --quiet disable ssh.service || true; fi
}

# unpack_packages PACKAGE…: without root, Debian's packages and what they need besides what is
# installed, into a folder of the user's own; their programs are then in its `bin`.
unpack_packages() {
  local prefix work deb
  prefix=$(cache_folder)/tools
  say "unpacking $* into $prefix (apt, without root)"
  work=$(mktemp -d)
  mkdir -p "$work"/{lists,cache/archives}/partial "$prefix/bin"
  # The system's sources and its list of installed packages; lists and cache of our own.
  local apt=(apt-get -qq -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o Debug::NoLocking=1 -o APT::Update::Post-Invoke-Success= -o APT::Update::Post-Invoke=
    -o APT::Sandbox::User=)
  if ! { "${apt[@]}" update && "${apt[@]}" -y --no-install-recommends --download-only install "$@"; } >"$work/log" 2>&1; then
    cat "$work/log" >&2
    rm -rf "$work"
    die "could not fetch: $*; ask root for: apt-get install $*"
  fi
  for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb -x "$deb" "$prefix"
  done
  rm -rf "$work"
  wrap_programs "$prefix" "$@"
  export PATH=$PATH:$prefix/bin
}

# wrap_programs PREFIX PROGRAM…: each finds its libraries, and git its parts, by itself: who starts
# it may clean its environment, as fleetcheck does for git.
wrap_programs() {
  local prefix=$1 program triplet
  triplet=$(uname -m)-linux-gnu
  shift
  for program in "$@"; do
    {
      printf '#!/bin/sh\n'
      printf 'export LD_LIBRARY_PATH=%q\n' "$prefix/usr/lib/$triplet:$prefix/lib/$triplet"
      if [[ $program == git ]]; then
        printf 'export GIT_EXEC_PATH=%q\n' "$prefix/usr/lib/git-core"
        printf 'export GIT_TEMPLATE_DIR=%q\n' "$prefix/usr/share/git-core/templates"
      fi
      printf 'exec %q "$@"\n' "$prefix/usr/bin/$program"
    } >"$prefix/bin/$program"
    chmod +x "$prefix/bin/$program"
  done
}

# need PROGRAM…: installs those that are missing, at once, or says what to install. The packages
# are called like the programs.
need() {
  local program missing=()
  # What an earlier run unpacked, behind the system's own.
  [[ -d $(cache_folder)/tools/bin ]] && PATH=$PATH:$(cache_folder)/tools/bin
  for program in "$@"; do
    have "$program" || missing+=("$program")
  done
  ((${#missing[@]})) || return 0
  if ! is_debian_like; then
    die "missing: ${missing[*]}. Install them with this system's package manager."
  elif [[ $EUID -eq 0 ]]; then
    apt_install "${missing[@]}"
  else
    unpack_packages "${missing[@]}"
  fi
  for program in "${missing[@]}"; do
    have "$program" || die "$program is still missing after installing it."
  done
}

# find_sshd: OpenSSH's server and client are here, installed where that may be done. Debian keeps
# the server off the PATH of most.
find_sshd() {
  PATH=$PATH:/usr/sbin:/sbin
  if have sshd && have ssh && have ssh-keygen; then return; fi
  if ! is_debian_like || [[ $EUID -ne 0 ]]; then return 1; fi
  # In a shell of its own, since it sets a trap.
  (without_services apt_install openssh-server openssh-client)
}

# need_rust: cargo and a C compiler; the bundled SQLite and the TLS library are C.
need_rust() {
  have cargo || die "cargo is missing: fleetcheck is written in Rust. Install Rust 1.94 or newer from rustup.rs."
  have cc && return 0
  if is_debian_like && [[ $EUID -eq 0 ]]; then
    apt_install gcc libc6-dev
  else
    die "cc is missing: install a C compiler (Debian: apt-get install gcc libc6-dev)."
  fi
}

# nix_is_current PROGRAM: 2.18 or newer.
nix_is_current() {
  local version
  version=$("$1" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n1) || return 1
  [[ -n $version ]] && ((${version%%.*} > 2 || (${version%%.*} == 2 && ${version#*.} >= 18)))
}

# current_nix: prints the path of a current Nix; on Debian it is unpacked beside the system's own.
current_nix() {
  if [[ -n ${FLEETCHECK_NIX:-} ]]; then
    have "$FLEETCHECK_NIX" || die "FLEETCHECK_NIX names $FLEETCHECK_NIX, which is not a program."
    command -v "$FLEETCHECK_NIX"
  elif have nix && nix_is_current nix; then
    command -v nix
  elif is_debian_like; then
    # shellcheck disable=SC2154  # root is set by the script that sources this file
    "$root/deploy/install-nix.sh" >&2 || die "Nix could not be unpacked, see above; install Nix 2.18 or newer, or name one in FLEETCHECK_NIX."
    if [[ $EUID -eq 0 ]]; then
      printf '/opt/fleetcheck-nix/usr/bin/nix\n'
    else
      printf '%s/nix/usr/bin/nix\n' "$(cache_folder)"
    fi
  else
    die "Nix is missing: install it (https://nixos.org/download), 2.18 or newer, and start this again."
  fi
}

# target_folder: where cargo puts what it builds.
target_folder() {
  cargo metadata --format-version 1 --no-deps --offline --manifest-path "$root/Cargo.toml" 2>/dev/null |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
