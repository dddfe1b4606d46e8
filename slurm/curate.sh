#!/bin/bash
#SBATCH --job-name=curation
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=720
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --output=slurm-%x-%j.out
#SBATCH --open-mode=append
# sbatch slurm/curate.sh NAME runs the curation stage of an experiment in the allocation that it gets.
# Options of `meds1 run` may follow NAME. From the checkout or a folder in it, after `source config.sh`; with bash: here.
# The lines above are the catalog's defaults; flags of sbatch override them. A job that is preempted, or two minutes from
# its time limit, saves and goes back into the queue.
set -euo pipefail
# sbatch runs a copy of this file from a spool folder, so the folder it was submitted from says where the checkout is.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -f "$checkout/slurm/curate.sh" ] || checkout=${SLURM_SUBMIT_DIR:-}
while [ ! -f "$checkout/slurm/curate.sh" ]; do
    case $checkout in
        /?*) checkout=${checkout%/*} ;;
        *) echo "curate.sh: submit it from the checkout: cd med-s1 && sbatch slurm/curate.sh EXPERIMENT" >&2 && exit 2 ;;
    esac
done
source "$checkout/config.sh"
if [ -n "${SLURM_JOB_ID:-}" ]; then export MEDS1_BATCH_SCRIPT=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1; fi
exec meds1 run --stage curation "$@"
