#!/usr/bin/env bash
# stop-controller.sh DIR: end slurmctld as an upgrade does; jobs and their nodes go on, and nobody answers.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
D=$(cd "$1" && pwd)
PID=$(awk '$1 == "slurmctld" {print $2}' "$D/pids")
[ -n "$PID" ] || { echo "no slurmctld in $D/pids" >&2; exit 2; }

kill "$PID"
for _ in {1..600}; do
    kill -0 "$PID" 2>/dev/null || exit 0
    case "$(cut -d' ' -f3 "/proc/$PID/stat" 2>/dev/null)" in '' | Z) exit 0 ;; esac
    sleep 0.1
done
echo "slurmctld ($PID) does not end" >&2
exit 1
