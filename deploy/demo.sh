#!/usr/bin/env bash
# Shows fleetcheck at work: a stand-in for GitHub, real Nix, a sample fleet of five hosts.
#
#   deploy/demo.sh [--once]
#
# It installs what is missing, builds, starts the stand-in and `fleetcheck serve` in a temporary
# folder, and prints the checks as GitHub would show them, as they change:
#
#   a push: one host does not evaluate, one does not build, one waits for a builder of another
#   system, which is not there
#   "Re-run" on the host that does not build: another attempt, and nothing else moves
#   a pull request that mends the two, and its merge
#   a fork's pull request: parked until a person with write access presses "Approve and build";
#   then what it changes on a host
#   the builder is switched on, a Nix store of its own behind an sshd on loopback: what waited for it
#   is built there and turns green. Without sshd and namespaces for it, which a user without root may
#   lack, it is said what is missing, and that host goes on waiting
#   a second fleet whose inputs have moved: a pull request that updates its lock file, without the
#   input that breaks a host
#
# At the end the pages stay up until Ctrl-C.
#
#   --once   do not wait for Ctrl-C: status 0 when the checks are as they should be, else 1
#
# FLEETCHECK_NIX names the nix program to use. Everything that is started ends with the script, and
# the temporary folder goes with it; the Nix store of the demo is in there too, so this machine's
# own /nix is not touched.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$root/deploy/lib.sh"

patience=180 # seconds for the checks of one commit

case "${1:-}" in
  '') once=false ;;
  --once) once=true ;;
  -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *) die "unknown argument: $1" "usage: deploy/demo.sh [--once]" ;;
esac

# --- what is started is ended -----------------------------------------------------------------

work=
children=()

clean_up() {
  local status=$? pid
  trap - EXIT
  trap '' INT TERM HUP
  if ((status == 1)) && [[ -s ${work:-/}/fleetcheck.log ]]; then
    say '' "the last lines of fleetcheck's log:" && tail -n 25 "$work/fleetcheck.log" >&2
  fi
  for pid in "${children[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
  done
  for _ in {1..150}; do
    for pid in "${children[@]}"; do
      kill -0 "$pid" 2>/dev/null && sleep 0.1 && continue 2
    done
    break
  done
  for pid in "${children[@]}"; do
    if kill -KILL "$pid" 2>/dev/null; then say "process $pid had to be killed"; fi
  done
  wait 2>/dev/null || true
  if [[ -n $work ]]; then
    chmod -R u+w "$work" 2>/dev/null || true # store paths are read-only
    rm -rf "$work"
  fi
  exit "$status"
}
trap clean_up EXIT
interrupted=130
trap 'exit "$interrupted"' INT
trap 'exit 143' TERM HUP

# --- what is needed ---------------------------------------------------------------------------

[[ $(uname -s) == Linux ]] || die "fleetcheck runs on Linux; this is $(uname -s)."
need git curl jq
need_rust
nix=$(current_nix)

say "building fleetcheck and the stand-in (the first time takes some minutes)"
# The dev profile: the demo waits for Nix, not for our code, and the release profile's link-time
# optimisation would more than double the wait for the first check.
(cd "$root" && cargo build --quiet --locked --bin fleetcheck --example stand-in-github)
target=$(target_folder)
programs=$target/debug

# --- a world of its own -----------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/fleetcheck-demo.XXXXXX")
mkdir -p "$work"/{store,var,log,etc,home,tmp,state,github,basestar}
# A Nix store in the temporary folder: no /nix, no daemon, no root (see nix.conf(5)).
unset NIX_REMOTE NIX_PATH NIX_USER_CONF_FILES
export NIX_STORE_DIR=$work/store NIX_STATE_DIR=$work/var NIX_LOG_DIR=$work/log NIX_CONF_DIR=$work/etc
export NIX_CONFIG='experimental-features = nix-command flakes
substituters =
sandbox = false
build-users-group =
flake-registry ='
export HOME=$work/home XDG_CACHE_HOME=$work/home/.cache XDG_CONFIG_HOME=$work/home/.config
export XDG_DATA_HOME=$work/home/.local/share XDG_STATE_HOME=$work/home/.local/state TMPDIR=$work/tmp
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME='fleetcheck' GIT_AUTHOR_EMAIL=fleetcheck@example.org
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

here=$("$nix" eval --impure --raw --expr builtins.currentSystem)
case $here in
  aarch64-linux) elsewhere=x86_64-linux ;;
  *) elsewhere=aarch64-linux ;;
esac

# wait_for SECONDS COMMAND…: tries it until it succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 20000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s\n' "$port"
      return
    fi
  done
  die "no free port between 20000 and 39999"
}

get() { curl --silent --show-error --fail --max-time 10 "$@"; }

# --- the stand-in for GitHub ------------------------------------------------------------------

start_github() {
  "$programs/examples/stand-in-github" --listen 127.0.0.1:0 --data "$work/github" \
    --webhook "http://127.0.0.1:$port/webhook" >"$work/github.out" 2>"$work/github.log" &
  children+=($!)
  wait_for 20 grep -q 'listening on ' "$work/github.out" ||
    die "the stand-in for GitHub did not start:" "$(cat "$work/github.log")"
  github=$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$work/github.out" | head -n1)
}

# --- fleetcheck -------------------------------------------------------------------------------

start_fleetcheck() {
  cat >"$work/fleetcheck.toml" <<TOML
[http]
listen = "127.0.0.1:$port"
public_url = "http://127.0.0.1:$port"

[github]
app_id = $(cat "$work/github/app-id")
private_key_file = "$work/github/app.pem"
webhook_secret_files = ["$work/github/webhook-secret"]
api_url = "$github"
git_url = "$github"
owners = ["acme"]

[store]
url = "sqlite:$work/state/fleetcheck.db"
directory = "$work/state"

[nix]
program = "$nix"
evaluations = 2
evaluation_memory = "2 GiB"

[[builder]]
name = "local"
systems = ["$here"]
slots = 2

$([[ -n $lacking ]] || cat <<BUILDER
[[builder]]
name = "basestar"
store = "ssh-ng://basestar"
ssh_options = ["-F", "$work/basestar/ssh_config"]
systems = ["$elsewhere"]
slots = 1
BUILDER
)
TOML
  "$programs/fleetcheck" serve --config "$work/fleetcheck.toml" >"$work/fleetcheck.log" 2>&1 &
  fleetcheck=$!
  children+=("$fleetcheck")
  wait_for 30 get "http://127.0.0.1:$port/readyz" || die "fleetcheck did not become ready."
}

# --- a builder --------------------------------------------------------------------------------

# What its sshd and fleetcheck's ssh need, before it is switched on: keys, and where it will listen.
# Everything it is told to do runs where `$work` shows basestar's own store and nix.conf: under
# fleetcheck's paths, as Nix wants it, and with none of its contents.
make_builder() {
  local own=$work/basestar
  mkdir -p "$own"/{store,var,log,etc,tmp}
  printf '%s\n' "$NIX_CONFIG" "system = $elsewhere" >"$own/etc/nix.conf"
  ssh-keygen -q -t ed25519 -N '' -C basestar -f "$own/host_key"
  ssh-keygen -q -t ed25519 -N '' -C fleetcheck -f "$own/key"
  builder_port=$(free_port)
  printf '#!/bin/sh\nexec %s %q\n' "${unshare[*]}" "$own/inside" >"$own/enter"
  cat >"$own/inside" <<SH
#!/bin/sh
set -e
for folder in store var log etc tmp; do mount --bind "$own/\$folder" "$work/\$folder"; done
export NIX_STORE_DIR=$NIX_STORE_DIR NIX_STATE_DIR=$NIX_STATE_DIR NIX_LOG_DIR=$NIX_LOG_DIR
export NIX_CONF_DIR=$NIX_CONF_DIR HOME=$HOME TMPDIR=$TMPDIR PATH=$(dirname "$nix"):\$PATH
exec sh -c "\$SSH_ORIGINAL_COMMAND"
SH
  chmod +x "$own/enter" "$own/inside"
  cat >"$own/sshd_config" <<SSHD
ListenAddress 127.0.0.1:$builder_port
HostKey $own/host_key
AuthorizedKeysFile $own/key.pub
ForceCommand $own/enter
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
SSHD
  printf '[127.0.0.1]:%s %s\n' "$builder_port" "$(cut -d' ' -f1,2 "$own/host_key.pub")" >"$own/known_hosts"
  cat >"$own/ssh_config" <<SSH
Host basestar
  HostName 127.0.0.1
  Port $builder_port
  User $(id -un)
  IdentityFile $own/key
  IdentitiesOnly yes
  UserKnownHostsFile $own/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
SSH
}

# What a second store needs here, and whether it is to be had.
unshare=(unshare --mount)
[[ $EUID -eq 0 ]] || unshare+=(--user --map-root-user)
lacking=
if ! find_sshd; then
  lacking="sshd (Debian: apt-get install openssh-server)"
elif ! "${unshare[@]}" true 2>/dev/null; then
  lacking="namespaces (Docker: --cap-add SYS_ADMIN; sysctl kernel.unprivileged_userns_clone=1)"
fi

switch_on_builder() {
  # It must be called by its whole path: it starts itself anew for every connection.
  mkdir -p /run/sshd 2>/dev/null || true # privilege separation, where root runs it
  "$(command -v sshd)" -D -e -f "$work/basestar/sshd_config" >"$work/basestar/sshd.log" 2>&1 &
  children+=($!)
}

# --- the checks, as GitHub shows them ---------------------------------------------------------

# checks SHA: a line for each, `name<TAB>state<TAB>title`, sorted by name.
checks() {
  get "$github/_/checks?sha=$1" |
    jq -r '.check_runs | sort_by(.name) | .[] | [.name, .conclusion // .status, .output.title // ""] | @tsv'
}

symbol() {
  case $1 in
    success) printf '✓' ;;
    failure | timed_out) printf '✗' ;;
    cancelled) printf '⊘' ;;
    action_required) printf '!' ;;
    in_progress) printf '◐' ;;
    *) printf '●' ;;
  esac
}

# show TIME: the checks of standard input, a line for each.
show() {
  local name state title
  while IFS=$'\t' read -r name state title; do
    printf '%6s  %s  %-18s %-12s %s\n' "$1" "$(symbol "$state")" "$name" "$state" "$title"
  done
}

# follow SHA EXPECTED: prints changes until the states are those expected, `name<TAB>state` a line.
follow() {
  local sha=$1 expected=$2 before='' now states begun=$SECONDS changed=$SECONDS
  while true; do
    kill -0 "$fleetcheck" 2>/dev/null || die "fleetcheck ended by itself."
    now=$(checks "$sha") || die "the stand-in for GitHub does not answer:" "$(tail -n 5 "$work/github.log")"
    if [[ $now != "$before" ]]; then
      comm -13 <(sort <<<"$before") <(sort <<<"$now") | sed '/^$/d' | show "$((SECONDS - begun))s"
      before=$now
      changed=$SECONDS
    fi
    states=$(cut -f1,2 <<<"$now")
    [[ $states == "$expected" ]] && break
    # A gate that has its conclusion and then silence: nothing more is to come. What is not urgent
    # may wait a minute for a request to share.
    if ((SECONDS - begun >= patience)) || { gate_is_completed "$states" && ((SECONDS - changed >= 75)); }; then
      say '' "after $((SECONDS - begun)) seconds the checks are not as expected (< expected, > shown):"
      diff <(printf '%s\n' "$expected") <(printf '%s\n' "$states") >&2 || true
      return 1
    fi
    sleep 0.3
  done
  printf '\n        as GitHub shows them now:\n'
  show '' <<<"$now"
}

gate_is_completed() {
  case $(head -n1 <<<"$1") in
    *queued | *in_progress | '') return 1 ;;
    *) return 0 ;;
  esac
}

# --- the sample fleet -------------------------------------------------------------------------

make_fleet() {
  cp -R "$root/fixtures/fleet" "$work/fleet"
  chmod -R u+w "$work/fleet"
  printf '{\n  here = "%s";\n  elsewhere = "%s";\n}\n' "$here" "$elsewhere" >"$work/fleet/lib/systems.nix"
  cd "$work/fleet"
  git init --quiet --initial-branch=main .
  git add --all
  git commit --quiet --message='A fleet of five'
}

upgrade_fleet() {
  git switch --quiet --create upgrade
  sed -i 's/ftl-drive-75.1/ftl-drive-76.0/' hosts/galactica.nix
  git commit --quiet --all --message='Upgrade the drive of galactica'
}

mend_fleet() {
  git switch --quiet --create mend
  git apply "$root/fixtures/fleet-mended.patch"
  git commit --quiet --all --message='Mend raider and viper'
}

# input NAME OUTPUTS: a new commit of an input, a git repository of its own.
input() {
  mkdir -p "$work/inputs/$1"
  cd "$work/inputs/$1"
  printf '{ outputs = _: { %s }; }\n' "$2" >flake.nix
  [[ -d .git ]] || git init --quiet --initial-branch=main .
  git add --all
  git commit --quiet --message="$2"
}

# A second fleet, of two hosts and two inputs, with a lock file.
make_homelab() {
  input dradis 'version = "1";'
  input gtk 'version = "1";'
  mkdir "$work/homelab"
  cd "$work/homelab"
  cat >flake.nix <<NIX
{
  inputs.dradis.url = "git+file://$work/inputs/dradis";
  inputs.gtk.url = "git+file://$work/inputs/gtk";
  outputs = { dradis, gtk, ... }:
    let
      host = name: uses: {
        config.system.build.toplevel = derivation {
          inherit name;
          system = "$here";
          builder = "/bin/sh";
          args = [ "-c" "echo \${uses.version} > \$out" ];
        };
      };
    in
    { nixosConfigurations = { atlantia = host "atlantia" dradis; triton = host "triton" gtk; }; };
}
NIX
  git init --quiet --initial-branch=main .
  git add --all
  "$nix" flake lock "path:$PWD" 2>"$work/lock.log" || die "nix flake lock:" "$(cat "$work/lock.log")"
  git add --all
  git commit --quiet --message='A fleet of two, with inputs'
}

pull_request_of_homelab() {
  get "$github/_/pulls?repository=acme/homelab" | jq -e '.[0]' >"$work/pull.json"
}

# github_event PATH KEY=VALUE…: something happens on the stand-in, which tells fleetcheck.
github_event() {
  local path=$1 pair query=()
  shift
  for pair in "$@"; do query+=(--data-urlencode "$pair"); done
  get --get --request POST "${query[@]}" "$github/_/$path" >"$work/event.json" ||
    die "the stand-in for GitHub refused: $path $*" "$(tail -n 5 "$work/github.log")"
}

push() { github_event push repository=acme/fleet branch="$1" from="$work/fleet"; }

# open_pull_request BRANCH NUMBER [fork=true]
open_pull_request() { github_event pull-request repository=acme/fleet branch="$1" number="$2" "${@:3}"; }

# press rerun|button SHA CHECK [KEY=VALUE…]
press() { github_event "$1" repository=acme/fleet sha="$2" name="$3" "${@:4}"; }

# title SHA CHECK: the title of a check and its state, as GitHub shows them now.
titled() { checks "$1" | grep -E "^$2	.*$3"; }

# what_changes SHA CHECK: the section of a check that says what changes on its host.
what_changes() {
  get "$github/_/checks?sha=$1" |
    jq -r --arg name "$2" '.check_runs[] | select(.name == $name) | .output | .summary, .text // empty' |
    sed -n '/What changes/,$p'
}

grep_changes() { what_changes "$1" 'fleet / galactica' | grep -q 'ftl-drive'; }

# --- in order ---------------------------------------------------------------------------------

port=$(free_port)
make_fleet
if [[ -n $lacking ]]; then
  # As root, and in CI, nothing is left out.
  if $once && [[ $EUID -eq 0 ]]; then die "the demo's second builder needs $lacking."; fi
  say "without its second builder, which needs $lacking: pegasus will wait"
else
  make_builder
fi
start_github
start_fleetcheck
pages=http://127.0.0.1:$port/
say '' "Nix: $("$nix" --version), this machine is $here" "fleetcheck: $pages" "GitHub (stand-in): $github"

push main
sha=$(git rev-parse HEAD)
printf '\npushed %.7s to main of acme/fleet: raider does not evaluate, viper does not build\n\n' "$sha"
follow "$sha" "fleet	failure
fleet / galactica	success
fleet / orion	success
fleet / pegasus	queued
fleet / raider	failure
fleet / viper	failure"

press rerun "$sha" 'fleet / viper'
printf '\npressed "Re-run" on fleet / viper: it alone is built once more, and no cached failure is believed\n\n'
wait_for "$patience" titled "$sha" 'fleet / viper' 'failure	attempt 2' ||
  die "fleet / viper did not get its second attempt:" "$(checks "$sha")"
checks "$sha" | grep -E '^fleet( / viper)?	' | show ''

mend_fleet
push mend
open_pull_request mend 1
sha=$(git rev-parse HEAD)
printf '\nopened pull request 1 with %.7s: it mends both; orion and galactica are as before\n\n' "$sha"
follow "$sha" "fleet	success
fleet / galactica	success
fleet / orion	success
fleet / pegasus	queued
fleet / raider	success
fleet / viper	success"

git push --quiet . mend:main
push main
upgrade_fleet
push upgrade
github_event member repository=acme/fleet login=adama permission=admin
open_pull_request upgrade 2 fork=true
sha=$(git rev-parse HEAD)
printf '\nmerged it; then a fork opened pull request 2 with %.7s: nothing of it is evaluated or built yet\n\n' "$sha"
follow "$sha" "fleet	action_required"

press button "$sha" fleet identifier=approve login=adama
printf '\nadama, who may write here, pressed "Approve and build"\n\n'
follow "$sha" "fleet	success
fleet / galactica	success
fleet / orion	success
fleet / pegasus	queued
fleet / raider	success
fleet / viper	success"

wait_for "$patience" grep_changes "$sha" ||
  die "fleet / galactica does not say what changes:" "$(what_changes "$sha" 'fleet / galactica')"
printf '\n        fleet / galactica says:\n\n'
what_changes "$sha" 'fleet / galactica' | sed 's/^/        /'

if [[ -z $lacking ]]; then
  switch_on_builder
  printf '\nswitched on basestar, the builder for %s that pegasus waits for\n\n' "$elsewhere"
  follow "$sha" "fleet	success
fleet / galactica	success
fleet / orion	success
fleet / pegasus	success
fleet / raider	success
fleet / viper	success" || die "basestar's sshd said:" "$(tail -n 20 "$work/basestar/sshd.log")"
  [[ -n $(find "$work/basestar/store" -maxdepth 1 -name '*pegasus*' -not -name '*.drv') ]] ||
    die "pegasus was not built in basestar's store:" "$(ls "$work/basestar/store")"
fi

make_homelab
github_event push repository=acme/homelab branch=main from="$work/homelab"
sha=$(git rev-parse HEAD)
printf '\npushed %.7s to main of acme/homelab, a fleet with a flake.lock\n\n' "$sha"
follow "$sha" "fleet	success
fleet / atlantia	success
fleet / triton	success"

input dradis 'version = "2";'
input gtk 'version = throw "gtk-engine-murrine was removed";'
cd "$work/homelab"
"$programs/fleetcheck" update --repo acme/homelab --config "$work/fleetcheck.toml" >/dev/null
printf '\nboth inputs have a newer commit, and that of gtk breaks triton; asked for an update\n\n'
wait_for "$patience" pull_request_of_homelab || die "no update pull request was opened."
printf '        pull request %s: %s\n\n' "$(jq -r .number "$work/pull.json")" "$(jq -r .title "$work/pull.json")"
jq -r .body "$work/pull.json" | sed -n '/### Held back/,/^---/p' | sed '$d; s/^/        /'
sha=$(jq -r .sha "$work/pull.json")
follow "$sha" "fleet	success
fleet / atlantia	success
fleet / triton	success"

printf '\nThe checks are as they should be.\n'
if ! $once; then
  printf 'Runs, builds and logs: %s   (Ctrl-C ends the demo)\n' "$pages"
  interrupted=0
  while kill -0 "$fleetcheck" 2>/dev/null; do sleep 1; done
  die "fleetcheck ended by itself."
fi
