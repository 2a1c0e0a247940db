#!/usr/bin/env bash
# One job over two "hosts" on one machine: two network namespaces with addresses of their own, joined by a link of a
# given rate, and mpirun that starts a process (or more) in each. What it does by hand is what a cluster's launcher does.
#   two_hosts.sh [--rate RATE] [--processes P] [--counters FILE] -- run SCENARIO.toml --out DIR
# RATE as tc has it (200mbit; none: unlimited), P processes per host. --counters: afterwards, what crossed the link:
# `HOST received BYTES sent BYTES` per line. BUBBLESCOPE: the program, if it is not the one in build/release. Exit code
# 77, with the reason, where no namespaces can be made.
set -euo pipefail

rate=none processes=1 counters=
usage() { sed -n '4p' "$0" | cut -c3- >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    --rate) rate=${2:?}; shift 2 ;;
    --processes) processes=${2:?}; shift 2 ;;
    --counters) counters=${2:?}; shift 2 ;;
    --) shift; break ;;
    *) usage ;;
  esac
done
[ $# -gt 0 ] || usage

cannot() { echo "two_hosts.sh: $1" >&2; exit 77; }
program=${BUBBLESCOPE:-$(dirname "$0")/../../build/release/bubblescope}
program=$(realpath "$program")
[ "$(id -u)" = 0 ] || cannot "network namespaces need root"
for tool in ip tc taskset mpirun; do
  command -v "$tool" >/dev/null || cannot "there is no '$tool' (Debian: iproute2, util-linux, openmpi-bin)"
done
[ -e "$(dirname "$program")/libbubblescope-mpi.so" ] || cannot "there is no libbubblescope-mpi.so beside $program: it was built without MPI"

# Names of this process's own, so that several may run at once; an interface has at most 15 letters.
id=$$
a=bs$id-a b=bs$id-b
net=10.$((200 + id % 50)).$((id / 50 % 250))
files=$(mktemp -d)
job=

clean_up() {
  local code=$?
  trap - EXIT INT TERM HUP
  if [ -n "$job" ] && kill -0 "$job" 2>/dev/null; then
    kill -TERM "$job" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$job" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$job" 2>/dev/null || true
  fi
  for space in "$a" "$b"; do
    # What is left there, such as a process that was stopped.
    for left in $(ip netns pids "$space" 2>/dev/null); do kill -KILL "$left" 2>/dev/null || true; done
    ip netns del "$space" 2>/dev/null || true
  done
  rm -rf "$files"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Half of the processor's cores for each, as hosts have cores of their own. With a single core they share it.
mapfile -t cores < <(awk '/^Cpus_allowed_list/ { parts = split($2, part, ","); for (i = 1; i <= parts; i++) { ends = split(part[i], end, "-"); for (c = end[1]; c <= end[ends]; c++) print c } }' /proc/self/status)
half=$(((${#cores[@]} + 1) / 2))
cores_of() { local IFS=,; if [ "$1" = "$a" ] || [ "${#cores[@]}" -lt 2 ]; then echo "${cores[*]:0:$half}"; else echo "${cores[*]:$half}"; fi; }

# Two hosts, a cable between them.
ip netns add "$a" 2>"$files/why" || cannot "network namespaces are not allowed here: $(cat "$files/why")"
ip netns add "$b"
ip link add "$a" netns "$a" type veth peer name "$b" netns "$b" 2>"$files/why" || cannot "no veth link can be made here: $(cat "$files/why")"
number=1
for host in "$a" "$b"; do
  ip -n "$host" link set lo up
  ip -n "$host" address add "$net.$number/24" dev "$host"
  # Large frames, for the processor that computes here is that of the network, too; but a link that was idle lets one
  # through at once, and of a message of 64 KiB one of 9000 bytes would be a seventh.
  ip -n "$host" link set "$host" mtu 4000 up
  # As clusters have it: a connection that was idle while ranks computed goes on at the rate that it had.
  ip netns exec "$host" sysctl -qw net.ipv4.tcp_slow_start_after_idle=0 2>/dev/null || true
  echo "$net.$number slots=$processes" >>"$files/hosts"
  if [ "$rate" != none ]; then
    # Half a second of queue: nothing is dropped. The smallest bucket, a frame with its header: no
    # more than RATE, and a few percent less where the timer that fills it comes late.
    ip netns exec "$host" tc qdisc add dev "$host" root tbf rate "$rate" burst 4100 latency 500ms 2>"$files/why" ||
      cannot "the link cannot be limited: $(cat "$files/why")"
  fi
  number=$((number + 1))
done

# mpirun starts its daemon on another host with `AGENT [options] HOST COMMAND...`: ssh on a cluster, here ip. Each has a host
# name and temporary files of its own.
cat >"$files/agent" <<AGENT
#!/usr/bin/env bash
# Runs a command on one of the hosts.
while [ "\${1#-}" != "\$1" ]; do shift; done
case "\$1" in
  $net.1) space=$a cores=$(cores_of "$a") ;;
  $net.2) space=$b cores=$(cores_of "$b") ;;
  *) echo "agent: no host '\$1'" >&2; exit 1 ;;
esac
shift
mkdir -p "$files/\$space"
export TMPDIR="$files/\$space"
exec ip netns exec "\$space" taskset -c "\$cores" unshare --uts sh -c "hostname \$space; \$*"
AGENT
chmod +x "$files/agent"

mkdir -p "$files/$a"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR="$files/$a"
# tcp over this link only, for messages (btl) and for mpirun's own words (oob); ranks of one host by tcp, too. Messages up
# to 1 MiB go at once: the answer to an announcement would wait behind all that goes the other way.
ip netns exec "$a" taskset -c "$(cores_of "$a")" unshare --uts sh -c 'hostname "$0"; exec "$@"' "$a" \
  mpirun --hostfile "$files/hosts" -n $((2 * processes)) --map-by ppr:"$processes":node --bind-to none \
  --mca plm_rsh_agent "$files/agent" --mca plm_rsh_no_tree_spawn 1 --mca routed direct \
  --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include "$net.0/24" --mca btl_tcp_eager_limit 1048576 \
  --mca btl_tcp_rndv_eager_limit 1048576 --mca btl_tcp_max_send_size 1048576 --mca oob_tcp_if_include "$net.0/24" \
  "$program" "$@" <&0 &
job=$!
code=0
wait "$job" || code=$?
job=

if [ -n "$counters" ]; then
  for host in "$a" "$b"; do
    read -r received < <(ip netns exec "$host" cat "/sys/class/net/$host/statistics/rx_bytes")
    read -r sent < <(ip netns exec "$host" cat "/sys/class/net/$host/statistics/tx_bytes")
    echo "$host received $received sent $sent"
  done >"$counters"
fi
exit "$code"
