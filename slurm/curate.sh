#!/bin/bash
#SBATCH --job-name=curation
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=720
#SBATCH --requeue
#SBATCH --output=slurm-%x-%j.out
# sbatch slurm/curate.sh NAME [options of `meds1 run`], from the checkout after `source config.sh`; with bash: here.
# The lines above are the catalog's defaults; flags of sbatch override them.
set -euo pipefail
# sbatch runs a copy of this file from a spool folder, so the folder it was submitted from says where the checkout is.
checkout=${SLURM_SUBMIT_DIR:-}
[ -f "$checkout/slurm/curate.sh" ] || checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -f "$checkout/config.sh" ] || { echo "curate.sh: submit it from the checkout: cd med-s1 && sbatch slurm/curate.sh NAME" >&2; exit 2; }
source "$checkout/config.sh"
if [ -n "${SLURM_JOB_ID:-}" ]; then export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1; fi
exec meds1 run --stage curation "$@"
