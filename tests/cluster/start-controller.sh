#!/usr/bin/env bash
# start-controller.sh DIR: start slurmctld again; it knows its jobs from the state that it saved.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
D=$(cd "$1" && pwd)
export SLURM_CONF=$D/slurm.conf PATH=$PATH:/usr/sbin
setsid slurmctld -D </dev/null >>"$D/log/slurmctld.out" 2>&1 &
sed -i "s/^slurmctld .*/slurmctld $!/" "$D/pids"
for _ in {1..300}; do
    if scontrol ping | grep -q "is UP" && sinfo -h -p main -o %T | grep -qE '^(idle|mix|alloc)[a-z]*$'; then exit 0; fi
    sleep 0.2
done
echo "slurmctld did not come back; see $D/log/slurmctld.out" >&2
exit 1
