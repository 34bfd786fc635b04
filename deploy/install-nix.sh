#!/usr/bin/env bash
# Unpacks a current Nix beside an older Debian's own, in some seconds, as root or not.
#
#   install-nix.sh [SUITE [PREFIX]]
#
# SUITE is the Debian suite whose `nix-bin` is taken (default: forky). PREFIX is where it goes
# (default: /opt/fleetcheck-nix as root, ~/.cache/fleetcheck/nix as anyone else); the program is
# PREFIX/usr/bin/nix. A second run finds it there and does nothing.
#
# The system's libc and dpkg database stay untouched: a private apt state, a download, dpkg-deb -x,
# and a changed interpreter and library path in the one ELF file `nix`. Nothing goes into the
# environment, so git, ssh and sh as children of Nix keep the system's own libraries.
#
# It writes PREFIX/etc/nix.conf (flakes on, no substituters, no sandbox, no build group; the
# sandbox works when it is turned on) and PREFIX/env.sh to source (PATH and NIX_CONF_DIR).
# It needs apt, dpkg-deb, tar and debian-archive-keyring: every Debian has them.
set -euo pipefail

die() {
  printf 'install-nix.sh: %s\n' "$1" >&2
  exit 1
}

if [[ $EUID -eq 0 ]]; then
  default_prefix=/opt/fleetcheck-nix
else
  default_prefix=${XDG_CACHE_HOME:-$HOME/.cache}/fleetcheck/nix
fi
suite=${1:-forky}
prefix=${2:-$default_prefix}
[[ $prefix == /* ]] || prefix=$PWD/$prefix

if [[ -x $prefix/usr/bin/nix ]] && "$prefix/usr/bin/nix" --version >/dev/null 2>&1; then
  printf 'already there: %s in %s\n' "$("$prefix/usr/bin/nix" --version)" "$prefix"
  exit 0
fi

# The prefix is replaced as a whole, so a folder with other things in it must not be given.
if [[ -d $prefix && ! -e $prefix/etc/nix.conf && -n $(ls -A "$prefix") ]]; then
  die "$prefix is in use by something else; name a folder of its own as PREFIX"
fi

for program in apt-get dpkg dpkg-deb tar; do
  command -v "$program" >/dev/null ||
    die "$program is missing: this is for Debian; elsewhere install Nix 2.8 or newer from nixos.org"
done
case $(dpkg --print-architecture) in
  amd64) arch=amd64 triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
  arm64) arch=arm64 triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
  *) die "no recipe for $(dpkg --print-architecture); wanted amd64 or arm64" ;;
esac

# The mirror that this machine's apt uses already.
mirror=${DEBIAN_MIRROR:-$(
  grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
    head -n1 | tr -d ' ' || true
)}
[[ -n $mirror ]] || die "no Debian mirror in apt's sources; name one in DEBIAN_MIRROR"
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
[[ -r $keyring ]] || die "$keyring is missing; install debian-archive-keyring or set DEBIAN_KEYRING"

work=$(mktemp -d)
mkdir -p "$(dirname "$prefix")" || die "cannot make $(dirname "$prefix"); name another PREFIX"
new=$(mktemp -d "$prefix.new.XXXXXX") || die "cannot write $prefix; name another PREFIX"
trap 'rm -rf "$work" "$new"' EXIT
chmod 755 "$new"

# 1. A private apt: own sources, lists, cache and an empty dpkg status, so that every dependency,
#    libc included, is resolved inside SUITE.
mkdir -p "$work"/{lists,cache/archives}/partial
: >"$work/status"
printf 'deb [signed-by=%s arch=%s] %s %s main\n' "$keyring" "$arch" "$mirror" "$suite" >"$work/sources.list"
cat >"$work/apt.conf" <<CONF
Dir::State "$work";
Dir::State::Lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
// No hooks of the system's: docker-clean would empty the cache under our hands.
Dir::Etc::Parts "/dev/null";
Dir::Etc::Main "/dev/null";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
// A frozen mirror or a clock ahead of it is fine; signature and hashes are checked all the same.
Acquire::Check-Valid-Until "false";
CONF
# The system's proxy settings are kept.
apt-config dump Acquire 2>/dev/null | grep -i '::proxy' >>"$work/apt.conf" || true
export APT_CONFIG=$work/apt.conf
apt-get -qq update

# 2. nix-bin, patchelf and all they depend on; apt checks the hashes against the signed index.
apt-get -qq -y --no-install-recommends --download-only install nix-bin patchelf >/dev/null

# 3. Only libraries and the programs that are run; no perl, passwd, debconf or pam.
for deb in "$work"/cache/archives/*.deb; do
  case $(basename "$deb") in
    nix-bin_* | patchelf_* | bash-static_* | zlib1g_*) ;;
    libperl* | libpam* | libsemanage* | libsepol* | libdebconf* | libaudit* | libdb5* | lib*-perl_*) continue ;;
    libc-gconv* | libgdbm* | libsystemd* | libcurl4t64*) continue ;;
    lib*) ;;
    *) continue ;;
  esac
  dpkg-deb --fsys-tarfile "$deb" |
    tar -x -C "$new" --exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*'
done

# 4. The interpreter must be SUITE's own ld.so, because libc and ld.so must match. DT_RPATH (not
#    RUNPATH) on the program is inherited by its libraries, so that none of them has to be touched.
ldso=$(find "$new/usr/lib/$triplet" "$new/usr/lib64" "$new/usr/lib" -maxdepth 1 -name "$loader" 2>/dev/null | head -n1)
[[ -n $ldso ]] || die "no $loader among the packages of $suite"
run() { "$ldso" --library-path "$new/usr/lib/$triplet" "$@"; }
run "$new/usr/bin/patchelf" --set-interpreter "$prefix${ldso#"$new"}" \
  --force-rpath --set-rpath "$prefix/usr/lib/$triplet" "$new/usr/bin/nix"
rm -f "$new/usr/bin/patchelf"

# 5. No library may come from outside the prefix.
if run --list "$new/usr/bin/nix" | grep -E 'not found|=> /(usr/)?lib'; then
  die "these libraries would come from outside $prefix"
fi
mkdir -p "$new/etc"
cat >"$new/etc/nix.conf" <<CONF
experimental-features = nix-command flakes
substituters =
build-users-group =
sandbox = false
sandbox-paths = /bin/sh=$prefix/usr/bin/bash-static
flake-registry =
CONF
{
  # shellcheck disable=SC2016  # $PATH is for the shell that sources this file
  printf 'export PATH=%q:$PATH\n' "$prefix/usr/bin"
  printf 'export NIX_CONF_DIR=%q\n' "$prefix/etc"
} >"$new/env.sh"

# 6. Switch over. A Nix that stood there did not run; anything else was refused above.
rm -rf "$prefix"
mv -T "$new" "$prefix"
"$prefix/usr/bin/nix" --version
