#!/usr/bin/env bash
# start.sh DIR: start a throw-away Slurm under DIR (a short path: it holds unix sockets), as root and without systemd; prints
# SLURM_CONF=DIR/slurm.conf. Partitions: `main` (default, preemptible by requeue) and `high`.
#   NODES  virtual nodes (2)        CPUS, MEM, GPUS  of each: cores, MB, pretend devices (8, 8000, 4); more than the machine has
#   ACCT   1: accounting by slurmdbd and MariaDB, 0: none (1)      GRACE  seconds that a preempted job has to end (60)
#   MAX_ARRAY  jobs that one array may have (10001)
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
D=$(cd "$1" && pwd)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOST=$(hostname -s)
: "${NODES:=2}" "${CPUS:=8}" "${MEM:=8000}" "${GPUS:=4}" "${ACCT:=1}" "${GRACE:=60}" "${MAX_ARRAY:=10001}"
export PATH=$PATH:/usr/sbin LC_ALL=C SLURM_CONF=$D/slurm.conf
[ ! -s "$D/pids" ] || { echo "already started: $D/pids" >&2; exit 4; }
[ ${#D} -le 80 ] || { echo "too long a path for a unix socket: $D" >&2; exit 5; }

run_daemon() { # NAME COMMAND...: in the background, in a session of its own, noted in DIR/pids
    local name=$1
    shift
    setsid "$@" </dev/null >>"$D/log/$name.out" 2>&1 &
    echo "$name $!" >>"$D/pids"
}

wait_for() { # SECONDS COMMAND...: until COMMAND works; gives up at once when a daemon has ended
    local end=$((SECONDS + $1)) why name pid
    shift
    until "$@" >/dev/null 2>&1; do
        why=
        [ $SECONDS -lt $end ] || why="gave up waiting for: $*"
        while read -r name pid; do
            case "$(cut -d' ' -f3 "/proc/$pid/stat" 2>/dev/null)" in '' | Z) why="$name ended" ;; esac
        done <"$D/pids"
        if [ -n "$why" ]; then
            echo "$why" >&2
            tail -n 15 "$D"/log/* >&2
            "$HERE/stop.sh" "$D" >&2
            exit 6
        fi
        sleep 0.1
    done
}

rm -rf "$D"/{log,state,spool,run,sql}
mkdir -p "$D"/{log,state,spool,run}
chmod 755 "$D" "$D/run"
: >"$D/pids"
: >"$D/plugstack.conf"
: >"$D/gres.conf"
SOCKET=$D/run/munge.socket

# Below the range that the kernel hands out: slurmctld, slurmdbd, MariaDB, then one for each node.
run_daemon ports python3 "$HERE/hold-ports.py" 20000 32000 100 $((NODES + 3))
wait_for 60 test -s "$D/log/ports.out"
PORT=$(<"$D/log/ports.out")

(umask 077 && head -c 128 /dev/urandom >"$D/run/munge.key")
run_daemon munged munged -F --force --num-threads=10 --key-file="$D/run/munge.key" --socket="$SOCKET" \
    --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log" --seed-file="$D/run/munge.seed"

accounting="AccountingStorageType=accounting_storage/none"
if [ "$ACCT" = 1 ]; then
    mariadb-install-db --no-defaults --user=root --datadir="$D/sql" --skip-test-db --skip-name-resolve \
        --auth-root-authentication-method=socket >"$D/log/install-db.out" 2>&1
    printf '%s;\n' "CREATE DATABASE slurm" "GRANT ALL ON slurm.* TO 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm'" >"$D/run/init.sql"
    run_daemon mariadbd mariadbd --no-defaults --user=root --datadir="$D/sql" --socket="$D/run/sql.sock" \
        --pid-file="$D/run/sql.pid" --bind-address=127.0.0.1 --port=$((PORT + 2)) --init-file="$D/run/init.sql" \
        --innodb-log-file-size=16M --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
        --innodb-lock-wait-timeout=900 --skip-name-resolve
    (umask 077 && cat >"$D/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$SOCKET
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((PORT + 1))
SlurmUser=root
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
CONF
    accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$SOCKET
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2"
fi

# FirstJobId is random so that a job id of another cluster's left-over files does not come again.
cat >"$D/slurm.conf" <<CONF
ClusterName=lab
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$SOCKET,cred_expire=5
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
PlugStackConfig=$D/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,bf_continue
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=2
MinJobAge=600
EnforcePartLimits=ALL
FirstJobId=$(((RANDOM * 32768 + RANDOM) % 60000000 + 1000))
MaxArraySize=$MAX_ARRAY
MaxJobCount=20000
$accounting
NodeName=node[1-$NODES] NodeHostname=$HOST NodeAddr=127.0.0.1 Port=[$((PORT + 3))-$((PORT + 2 + NODES))] CPUs=$CPUS RealMemory=$MEM Gres=gpu:$GPUS State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=60 MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=$GRACE State=UP
PartitionName=high Nodes=ALL DefaultTime=60 MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
CONF
if [ "$GPUS" -gt 0 ]; then # pretend devices, clones of /dev/null: Slurm sets CUDA_VISIBLE_DEVICES for them
    for ((i = 0; i < GPUS; i++)); do mknod -m 666 "$D/run/gpu$i" c 1 3; done
    echo "NodeName=node[1-$NODES] Name=gpu File=$D/run/gpu[0-$((GPUS - 1))]" >"$D/gres.conf"
fi

wait_for 60 munge -n -S "$SOCKET"
if [ "$ACCT" = 1 ]; then
    wait_for 60 mariadb --no-defaults -h127.0.0.1 -P$((PORT + 2)) -uslurm -pslurm slurm -e 'select 1'
    run_daemon slurmdbd slurmdbd -D
    wait_for 60 sacctmgr -n list cluster
fi
run_daemon slurmctld slurmctld -D
wait_for 60 sinfo -h
for ((i = 1; i <= NODES; i++)); do
    mkdir -p "$D/spool/node$i"
    run_daemon "slurmd-node$i" slurmd -D -N "node$i"
done
all_idle() { [ "$(sinfo -h -N -p main -o %T | grep -c '^idle$')" = "$NODES" ]; }
wait_for 60 all_idle
echo "SLURM_CONF=$SLURM_CONF"
