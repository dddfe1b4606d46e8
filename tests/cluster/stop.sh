#!/usr/bin/env bash
# stop.sh DIR: end exactly what start.sh DIR started, with the jobs' processes; keeps DIR and its logs. Nothing running: nothing done.
set -u
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
D=$(cd "$1" && pwd) || exit 2
export SLURM_CONF=$D/slurm.conf
[ -s "$D/pids" ] || exit 0

ours() { # PID: is it alive, and of this cluster? (a number in DIR/pids may have been given to another process since)
    [ -e "/proc/$1/exe" ] && grep -qzx "SLURM_CONF=$SLURM_CONF" "/proc/$1/environ"
}

end_job_processes() { # slurmstepd and the tasks outlive slurmd
    local entry pid
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        if [[ $(readlink "$entry/exe") = *slurmstepd* ]] || grep -qz ^SLURM_JOB_ID= "$entry/environ"; then
            ours "$pid" && kill -9 "$pid"
        fi
    done
}

exec 2>/dev/null # processes end while they are looked at
timeout 5 scancel -Q -t PENDING -u root
timeout 5 scancel -Q -f -s KILL -t RUNNING -u root
for _ in {1..30}; do
    [ -n "$(timeout 5 squeue -h)" ] || break
    sleep 0.1
done
for daemon in slurmd- slurmctld slurmdbd mariadbd munged ports; do
    pids=$(awk -v name="$daemon" '$1 ~ "^" name {print $2}' "$D/pids")
    for pid in $pids; do ours "$pid" && kill "$pid"; done
    for pid in $pids; do
        for _ in {1..100}; do
            ours "$pid" || break
            sleep 0.1
        done
        ours "$pid" && kill -9 "$pid"
    done
    [ "$daemon" != slurmd- ] || end_job_processes
done
rm -f "$D/pids"
