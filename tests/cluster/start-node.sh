#!/usr/bin/env bash
# start-node.sh DIR NODE: bring a killed virtual node back (ReturnToService=2 makes it idle again).
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 DIR NODE" >&2; exit 2; }
D=$(cd "$1" && pwd)
NODE=$2
export SLURM_CONF=$D/slurm.conf PATH=$PATH:/usr/sbin
setsid slurmd -D -N "$NODE" </dev/null >>"$D/log/slurmd-$NODE.out" 2>&1 &
sed -i "s/^slurmd-$NODE .*/slurmd-$NODE $!/" "$D/pids"
for _ in {1..600}; do
    if sinfo -h -n "$NODE" -o %T | grep -qE '^(idle|mix|alloc)[a-z]*$'; then exit 0; fi
    sleep 0.1
done
sinfo -n "$NODE" >&2
echo "node $NODE did not come back; see $D/log/slurmd-$NODE.out" >&2
exit 1
