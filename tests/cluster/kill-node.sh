#!/usr/bin/env bash
# kill-node.sh DIR NODE: lose a virtual node as by a power cut: SIGKILL its slurmd and every process of its jobs, then tell
# slurmctld, which by itself notices only after SlurmdTimeout (about 30 s).
set -u
[ $# = 2 ] || { echo "usage: $0 DIR NODE" >&2; exit 2; }
D=$(cd "$1" && pwd) || exit 2
NODE=$2
export SLURM_CONF=$D/slurm.conf
slurmd=$(awk -v name="slurmd-$NODE" '$1 == name {print $2}' "$D/pids")
[ -n "$slurmd" ] || { echo "no node $NODE in $D/pids" >&2; exit 2; }

kill -9 "$slurmd"
for entry in /proc/[0-9]*; do
    environment=$(tr '\0' '\n' <"$entry/environ") || continue
    grep -qx "SLURM_CONF=$SLURM_CONF" <<<"$environment" && grep -qx "SLURMD_NODENAME=$NODE" <<<"$environment" || continue
    parent=$(awk '{print $4}' "$entry/stat")
    [ "$(cat "/proc/$parent/comm")" = slurmstepd ] && kill -9 "$parent"
    kill -9 "${entry#/proc/}"
done 2>/dev/null # processes end while they are looked at
scontrol update nodename="$NODE" state=down reason=killed
