#!/bin/bash
# Submit the curation stage of every experiment for which it is due. Options of `meds1 submit` follow, such as --tag or --dry-run.
set -euo pipefail
source "$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/config.sh"
exec meds1 submit --all --stage curation "$@"
