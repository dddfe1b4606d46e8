# shellcheck shell=bash
# Sourced by curate.sh, train.sh and eval.sh, once config.sh is.

# Run a stage here or in this job's allocation: run_stage STAGE NAME [OPTIONS OF meds1 run]
# The batch shell gets USR2 before a time limit or a preemption and hands it on: the stage saves, `meds1 run` ends with 75,
# and the job goes back into the queue, to go on from there.
run_stage() {
    local stage=$1 code=0 pid="" id=${SLURM_JOB_ID:-} again
    shift
    [ -n "$id" ] || exec meds1 run --stage "$stage" "$@"
    export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
    trap 'told=USR2; [ -z "$pid" ] || kill -s USR2 "$pid" || true' USR2
    trap 'told=TERM; [ -z "$pid" ] || kill -s TERM "$pid" || true' TERM
    (trap "" USR2 && exec meds1 run --stage "$stage" "$@") & # deaf until it listens, or it would die of it
    pid=$!
    [ -z "${told:-}" ] || kill -s "$told" "$pid" || true
    wait "$pid" || code=$?
    while kill -0 "$pid" 2>/dev/null; do # a signal has ended the wait, not the stage
        code=0
        wait "$pid" || code=$?
    done
    [ "$code" = 75 ] || exit "$code"
    [ -z "${SLURM_ARRAY_JOB_ID:-}" ] || id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    again="sbatch it again to go on from what is saved"
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
        echo "$stage: stopped; it has come back $MAX_RESTARTS times and does not once more; $again" >&2
    elif scontrol show job --oneliner "$id" | grep -q ' JobState=RUNNING '; then # else it was cancelled
        scontrol requeue "$id" || echo "$stage: stopped; it could not be requeued; $again" >&2
    fi
    exit "$code"
}
MAX_RESTARTS=20 # as many as max_requeues of submitted jobs
