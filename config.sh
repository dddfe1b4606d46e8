# shellcheck shell=bash
# Settings of this checkout, to be sourced by bash or zsh: `source config.sh`, also by the batch jobs. Says nothing, may be
# sourced again, and leaves alone what is set already; what you set in config.local.sh (ignored by git) comes first.
#   MEDS1_ROOT      everything that runs write, unless set apart: CACHE_DIR, MED_S1K_OUTPUT, HF_HOME
#   MEDS1_ENV       virtual or conda environment to activate (a path, or a conda name); default: the active one, else .venv
#   MEDS1_MODULES   what to `module load`, for instance "gcc/12 cuda/12.4"
#   MEDS1_REGISTRY, MEDS1_CONFIG    other files than this checkout's results.json and config.json
if [ -n "${BASH_SOURCE:-}" ]; then
    _meds1_file=${BASH_SOURCE[0]}
else
    eval '_meds1_file=${(%):-%x}' # zsh
fi
MEDS1_HOME=$(CDPATH='' cd -- "$(dirname -- "$_meds1_file")" >/dev/null && pwd)
export MEDS1_HOME

_meds1_fail() {
    echo "config.sh: $1" >&2
    return 3
}

_meds1_modules() {
    [ -n "${MEDS1_MODULES:-}" ] || return 0
    if ! command -v module >/dev/null && [ -r /etc/profile.d/modules.sh ]; then
        . /etc/profile.d/modules.sh # a batch job's shell is no login shell
    fi
    command -v module >/dev/null \
        || _meds1_fail "MEDS1_MODULES is set but there is no 'module' command; set it up in config.local.sh" || return
    eval "module load $MEDS1_MODULES" || _meds1_fail "'module load $MEDS1_MODULES' failed"
}

_meds1_activate() {
    _meds1_env=${MEDS1_ENV:-}
    if [ -z "$_meds1_env" ]; then
        [ -z "${VIRTUAL_ENV:-}" ] || return 0
        # conda's "base" is active in every login shell and chosen by nobody
        [ -z "${CONDA_PREFIX:-}" ] || [ "${CONDA_DEFAULT_ENV:-}" = base ] || return 0
        [ -f "$MEDS1_HOME/.venv/bin/activate" ] || return 0
        _meds1_env=$MEDS1_HOME/.venv
    fi
    case $_meds1_env in
        "${VIRTUAL_ENV:-}" | "${CONDA_PREFIX:-}" | "${CONDA_DEFAULT_ENV:-}") return 0 ;;
    esac
    if [ -f "$_meds1_env/bin/activate" ]; then
        . "$_meds1_env/bin/activate"
        return
    fi
    command -v "${CONDA_EXE:-conda}" >/dev/null \
        || _meds1_fail "MEDS1_ENV=$_meds1_env is no virtual environment, and conda is not there" || return
    eval "$("${CONDA_EXE:-conda}" "shell.${ZSH_VERSION:+zsh}${BASH_VERSION:+bash}" hook)" \
        && conda activate "$_meds1_env" || _meds1_fail "conda cannot activate MEDS1_ENV=$_meds1_env" || return
    unset VIRTUAL_ENV # of a virtual environment that was active before; bin/meds1 would prefer it
}

_meds1_settings() {
    # The tests set MEDS1_NO_LOCAL: in a clone that works for a lab they would write to the lab's registry.
    if [ -f "$MEDS1_HOME/config.local.sh" ] && [ -z "${MEDS1_NO_LOCAL:-}" ]; then
        . "$MEDS1_HOME/config.local.sh"
    fi
    export MEDS1_ROOT="${MEDS1_ROOT:-$MEDS1_HOME/.work}"
    export CACHE_DIR="${CACHE_DIR:-$MEDS1_ROOT/cache}"
    export MED_S1K_OUTPUT="${MED_S1K_OUTPUT:-$MEDS1_ROOT/output}"
    export HF_HOME="${HF_HOME:-$MEDS1_ROOT/huggingface}"
    [ -z "${MEDS1_REGISTRY:-}" ] || export MEDS1_REGISTRY
    [ -z "${MEDS1_CONFIG:-}" ] || export MEDS1_CONFIG
    [ -z "${MEDS1_ENV:-}" ] || export MEDS1_ENV
    [ -z "${MEDS1_MODULES:-}" ] || export MEDS1_MODULES
    HF_TOKEN=${HF_TOKEN:-${HUGGING_FACE_HUB_TOKEN:-}} # the name that older scripts use
    if [ -n "$HF_TOKEN" ]; then export HF_TOKEN; else unset HF_TOKEN; fi
    _meds1_modules && _meds1_activate || return
    [ "$(command -v meds1)" = "$MEDS1_HOME/bin/meds1" ] || export PATH="$MEDS1_HOME/bin:$PATH"
}

# A trace would print keys; the scripts of modules and conda break under `set -u`.
_meds1_flags=$-
{ set +xu; } 2>/dev/null
_meds1_status=0
_meds1_settings || _meds1_status=$?
unset -f _meds1_fail _meds1_modules _meds1_activate _meds1_settings
case $_meds1_flags in *u*) set -u ;; esac
case $_meds1_flags in *x*) set -x ;; esac
{ unset _meds1_file _meds1_flags _meds1_env; } 2>/dev/null
return "$_meds1_status"
