#!/usr/bin/env bash
# A second machine on this one, for tests: an sshd and a Nix store of its own, in namespaces of its
# own (mounts, network, processes). It ends, with all that runs on it, when its input ends: also
# when the test that started it was killed.
#
#   machine.sh FOLDER OWN MEBIBYTES
#
#   FOLDER     of the client's Nix (store, var, log, etc, home, tmp): the machine sees an empty disk
#              of its own there, so that its store paths are the client's and their contents not
#   OWN        a folder with its nix.conf and sshd_config; keys and logs are put there
#   MEBIBYTES  the size of its disk
#
# It prints `ready ADDRESS`, then obeys one word a line, and prints `done` after each:
#
#   cut, mend       every packet from and to it is dropped, without a word; no longer
#   stop, start     everything on it is killed; its sshd runs again
#   hang, go-on     everything on it stops (SIGSTOP); goes on
#   new-key         it has another host key from now on, which the client was not told
#   clock SECONDS   its `date` is so far ahead of this machine's, whose clock it shares
#   fill BYTES      that much of its disk stays free
#   free            the disk is as free as it was
set -euo pipefail

folder=$1 own=$2 mebibytes=$3
PATH=$PATH:/usr/sbin:/sbin

fail() {
  printf 'machine.sh: %s\n' "$@" >&2
  exit 1
}

# --- outside ------------------------------------------------------------------------------------

if [[ -z ${INSIDE:-} ]]; then
  for program in sshd ssh-keygen ip tc unshare nsenter; do
    command -v "$program" >/dev/null ||
      fail "$program is missing (Debian: apt-get install openssh-server iproute2 util-linux)"
  done
  [[ $EUID -eq 0 ]] || fail "a second machine needs root: mounts, a network and an sshd of its own"
  why=$(unshare --mount --net --pid --fork true 2>&1) ||
    fail "namespaces are not permitted here ($why): run the tests as root, in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN (Docker: --privileged)"
  # The network of whoever starts it: the other end of its cable goes there.
  exec 9</proc/self/ns/net
  INSIDE=1 exec unshare --mount --propagation private --net --pid --fork --kill-child --mount-proc \
    bash "${BASH_SOURCE[0]}" "$@"
fi
unset INSIDE

# --- its disk, its users ------------------------------------------------------------------------

mount -t tmpfs -o "size=${mebibytes}m,mode=0755" machine "$folder"
mkdir "$folder"/{store,var,log,etc,home,tmp}
cp "$own/nix.conf" "$folder/etc/nix.conf"
# Before what the host has in /run: its name service would know other users.
mount -t tmpfs -o mode=0755 machine /run
mkdir /run/sshd
# A shell that reads none of the files of this machine's root, and an account that is not locked.
printf '%s\n' "root:*:0:0:root:$folder/home:/bin/sh" "sshd:*:100:65534::/run/sshd:/usr/sbin/nologin" >/run/passwd
printf '%s\n' "root:*:::::::" "sshd:*:::::::" >/run/shadow
chmod 600 /run/shadow
mount --bind /run/passwd /etc/passwd
mount --bind /run/shadow /etc/shadow

# --- its network --------------------------------------------------------------------------------

# Where this script was started, not on the machine.
outside() { nsenter --net=/proc/self/fd/9 "$@"; }

# The name of the cable's outer end is taken from its network, and no two can have one name: that is
# what keeps machines that start at the same time apart.
connect() {
  local a b c said
  for _ in {1..100}; do
    a=$((RANDOM % 256)) b=$((RANDOM % 256)) c=$((RANDOM % 64 * 4))
    cable=$(printf 'fc%02x%02x%02x' $a $b $c)
    address=10.$a.$b.$((c + 2)) client=10.$a.$b.$((c + 1))
    hardware=$(printf '02:00:%02x:%02x:%02x' $a $b $c)
    if said=$(ip link add eth0 address "$hardware:02" type veth \
      peer name "$cable" address "$hardware:01" netns /proc/self/fd/9 2>&1); then
      return
    fi
    [[ $said == *'File exists'* ]] || fail "no network: $said"
  done
  fail "no free network among 100 of 10.0.0.0/8; what holds them? (ip link)"
}

connect
ip link set lo up
ip addr add "$address/30" dev eth0
ip link set eth0 up
outside ip addr add "$client/30" dev "$cable"
outside ip link set "$cable" up
# Neither side ever has to ask for the other's: an unanswered question would be "no route to host"
# after three seconds, which says more than a cut network does.
ip neigh replace "$client" lladdr "$hardware:01" nud permanent dev eth0
outside ip neigh replace "$address" lladdr "$hardware:02" nud permanent dev "$cable"

# --- its sshd -----------------------------------------------------------------------------------

new_key() {
  rm -f "$own/host_key" "$own/host_key.pub"
  ssh-keygen -q -t ed25519 -N '' -C machine -f "$own/host_key"
}

start() {
  "$(command -v sshd)" -D -e -f "$own/sshd_config" </dev/null >/dev/null 2>>"$own/sshd.log" 9>&- &
  for _ in {1..600}; do
    (exec 3<>"/dev/tcp/$address/22") 2>/dev/null && return
    kill -0 $! 2>/dev/null || break
    sleep 0.05
  done
  cat "$own/sshd.log" >&2
  fail "its sshd does not answer"
}

# Everything but this script, which is the first process and therefore spared.
signal_all() { kill -s "$1" -- -1 2>/dev/null || true; }

new_key
ssh-keygen -q -t ed25519 -N '' -C client -f "$own/key"
printf '%s %s\n' "$address" "$(cut -d' ' -f1,2 "$own/host_key.pub")" >"$own/known_hosts"
start
printf 'ready %s\n' "$address"

# --- what is asked of it ------------------------------------------------------------------------

while read -r order bytes; do
  case $order in
    # A queue without room drops whatever is put into it, and tells nobody.
    cut)
      tc qdisc replace dev eth0 root pfifo limit 0
      outside tc qdisc replace dev "$cable" root pfifo limit 0
      ;;
    mend)
      tc qdisc del dev eth0 root
      outside tc qdisc del dev "$cable" root
      ;;
    stop) signal_all KILL ;;
    start) start ;;
    hang) signal_all STOP ;;
    go-on) signal_all CONT ;;
    new-key)
      signal_all KILL
      new_key
      start
      ;;
    clock)
      cp /bin/date "$own/date"
      printf '#!/bin/sh\nexec %s/date -d "+%s seconds" "$@"\n' "$own" "$bytes" >"$own/wrong-date"
      chmod +x "$own/wrong-date"
      mount --bind "$own/wrong-date" /bin/date
      ;;
    fill)
      rm -f "$folder/filling"
      read -r blocks size < <(stat --file-system --format='%a %S' "$folder")
      fallocate --length $((blocks * size - bytes)) "$folder/filling"
      ;;
    free) rm -f "$folder/filling" ;;
    *) fail "it was asked to $order, which it does not know" ;;
  esac
  printf 'done\n'
done
