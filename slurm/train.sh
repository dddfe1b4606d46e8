#!/bin/bash
#SBATCH --job-name=training
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem=256G
#SBATCH --time=1440
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --output=slurm-%x-%j.out
#SBATCH --open-mode=append
# sbatch slurm/train.sh NAME runs the training stage of an experiment in the allocation that it gets.
# Options of `meds1 run` may follow NAME. From the checkout or a folder in it, after `source config.sh`; with bash: here.
# The lines above are the catalog's defaults; flags of sbatch override them. A job that is preempted, or two minutes from
# its time limit, saves and goes back into the queue.
set -euo pipefail
# sbatch runs a copy of this file from a spool folder, so the folder it was submitted from says where the checkout is.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -f "$checkout/slurm/train.sh" ] || checkout=${SLURM_SUBMIT_DIR:-}
while [ ! -f "$checkout/slurm/train.sh" ]; do
    case $checkout in
        /?*) checkout=${checkout%/*} ;;
        *) echo "train.sh: submit it from the checkout: cd med-s1 && sbatch slurm/train.sh EXPERIMENT" >&2 && exit 2 ;;
    esac
done
source "$checkout/config.sh"
if [ -n "${SLURM_JOB_ID:-}" ]; then export MEDS1_BATCH_SCRIPT=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1; fi
exec meds1 run --stage training "$@"
