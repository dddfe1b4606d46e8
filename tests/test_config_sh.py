"""config.sh as people and batch jobs source it: in bash and zsh, under strict modes, twice, with own settings."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import lab_environment

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_PATH = "/usr/bin:/bin"
SHELLS = [
    pytest.param("bash", id="bash"),
    pytest.param("zsh", id="zsh", marks=pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")),
]


@dataclass(frozen=True)
class Sourced:
    """What a shell said on both streams while it sourced config.sh, its exit status, and its environment afterwards."""

    output: str
    status: int
    environment: dict[str, str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real config.sh and launcher, in a folder with a space, without an environment."""
    home = tmp_path / "my clone"
    (home / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "config.sh", home)
    shutil.copy(ROOT / "bin" / "meds1", home / "bin")
    return home


def source(checkout: Path, shell: str = "bash", before: str = "", **variables: str) -> Sourced:
    """Run `before`, source config.sh in a clean environment, and look at what is exported then."""
    result = checkout.parent / "environment"
    result.unlink(missing_ok=True)
    quoted = f"'{checkout}/config.sh'"
    program = f"{before}\n. {quoted}\ncode=$?\nset +xu\nenv -0 > '{result}'\nexit $code"
    done = subprocess.run(
        [shell, "-c", program],
        env={"PATH": SYSTEM_PATH, **variables},
        capture_output=True,
        text=True,
        cwd=checkout.parent,
    )
    entries = result.read_text().rstrip("\0").split("\0") if result.exists() else []
    return Sourced(done.stdout + done.stderr, done.returncode, dict(entry.split("=", 1) for entry in entries))


def make_environment(path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("modes", ["", "set -u", "set -e", "set -eu", "set -euo pipefail"])
def test_one_root_holds_everything_and_nothing_is_said(checkout: Path, shell: str, modes: str) -> None:
    done = source(checkout, shell, before=modes)
    assert (done.output, done.status) == ("", 0)
    root = f"{checkout}/.work"
    assert done.environment["MEDS1_HOME"] == str(checkout)
    assert done.environment["MEDS1_ROOT"] == root
    assert done.environment["CACHE_DIR"] == f"{root}/cache"
    assert done.environment["MED_S1K_OUTPUT"] == f"{root}/output"
    assert done.environment["HF_HOME"] == f"{root}/huggingface"
    assert done.environment["PATH"] == f"{checkout}/bin:{SYSTEM_PATH}"
    unset = {"MEDS1_REGISTRY", "MEDS1_CONFIG", "MEDS1_ENV", "MEDS1_MODULES", "HF_TOKEN"}
    assert not unset & done.environment.keys()
    assert not Path(root).exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_set_is_left_alone(checkout: Path, shell: str) -> None:
    own = {"MEDS1_ROOT": "/r", "MED_S1K_OUTPUT": "/o", "HF_HOME": "/h", "MEDS1_REGISTRY": "/lab/results.json"}
    done = source(checkout, shell, **own)
    assert {name: done.environment[name] for name in own} == own
    assert done.environment["CACHE_DIR"] == "/r/cache"


@pytest.mark.parametrize("shell", SHELLS)
def test_sourcing_twice_changes_nothing_more(checkout: Path, shell: str) -> None:
    make_environment(checkout / ".venv")
    once = source(checkout, shell)
    twice = source(checkout, shell, before=f". '{checkout}/config.sh'")
    assert twice == once
    assert once.environment["VIRTUAL_ENV"] == str(checkout / ".venv")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shells_modes_and_arguments_survive(checkout: Path, shell: str) -> None:
    program = f"set -eu -- one two; . '{checkout}/config.sh'; echo \"$# $1\"; echo $not_set; echo not reached"
    done = subprocess.run([shell, "-c", program], env={"PATH": SYSTEM_PATH}, capture_output=True, text=True)
    assert done.stdout == "2 one\n"
    assert done.returncode != 0


@pytest.mark.parametrize("shell", SHELLS)
def test_own_settings_come_first(checkout: Path, shell: str) -> None:
    (checkout / "config.local.sh").write_text(
        "MEDS1_ROOT=/scratch/lab\nMEDS1_REGISTRY=$MEDS1_HOME/lab.json\n[ a = b ]\n"
    )
    done = source(checkout, shell, before="set -eu")
    assert (done.output, done.status) == ("", 0)
    assert done.environment["HF_HOME"] == "/scratch/lab/huggingface"
    assert done.environment["MEDS1_REGISTRY"] == f"{checkout}/lab.json"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tests_of_a_clone_that_works_for_a_lab_stay_out_of_the_labs_registry(checkout: Path, shell: str) -> None:
    (checkout / "config.local.sh").write_text("export MEDS1_REGISTRY=/shared/registry/results.json\n")
    variables = lab_environment(checkout.parent / "lab")
    done = source(checkout, shell, **{key: value for key, value in variables.items() if key.startswith("MEDS1_")})
    assert done.environment["MEDS1_REGISTRY"] == f"{checkout.parent}/lab/results.json"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_trace_shows_no_key_and_goes_on_afterwards(checkout: Path, shell: str) -> None:
    (checkout / "config.local.sh").write_text("export OPENAI_API_KEY=sk-secret-1\n")
    program = f"set -x; . '{checkout}/config.sh'; true goes on"
    environment = {"PATH": SYSTEM_PATH, "HUGGING_FACE_HUB_TOKEN": "hf-secret-2"}
    done = subprocess.run([shell, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "secret" not in done.stdout + done.stderr
    assert "true goes on" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_old_name_of_the_hub_token_serves(checkout: Path, shell: str) -> None:
    assert source(checkout, shell, HUGGING_FACE_HUB_TOKEN="old").environment["HF_TOKEN"] == "old"
    assert source(checkout, shell, HUGGING_FACE_HUB_TOKEN="old", HF_TOKEN="new").environment["HF_TOKEN"] == "new"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_named_environment_wins_over_the_checkouts_own(checkout: Path, shell: str) -> None:
    make_environment(checkout / ".venv")
    named = make_environment(checkout.parent / "named")
    done = source(checkout, shell, before="set -eu", MEDS1_ENV=str(named))
    assert done.environment["VIRTUAL_ENV"] == str(named)
    assert done.environment["PATH"] == f"{checkout}/bin:{named}/bin:{SYSTEM_PATH}"


@pytest.mark.parametrize("shell", SHELLS)
def test_an_active_environment_stays_but_condas_base_does_not_count(checkout: Path, shell: str) -> None:
    make_environment(checkout / ".venv")
    assert source(checkout, shell, VIRTUAL_ENV="/active").environment["VIRTUAL_ENV"] == "/active"
    own = {"CONDA_PREFIX": "/conda/envs/lab", "CONDA_DEFAULT_ENV": "lab"}
    assert "VIRTUAL_ENV" not in source(checkout, shell, **own).environment
    base = {"CONDA_PREFIX": "/conda", "CONDA_DEFAULT_ENV": "base"}
    assert source(checkout, shell, **base).environment["VIRTUAL_ENV"] == str(checkout / ".venv")


@pytest.mark.parametrize("shell", SHELLS)
def test_modules_are_loaded_with_the_sites_command(checkout: Path, shell: str) -> None:
    (checkout / "config.local.sh").write_text('module() { export LOADED="$LOADED_NOT_SET$*"; }\n')
    done = source(checkout, shell, before="set -eu", MEDS1_MODULES="gcc/12 cuda/12.4")
    assert (done.output, done.status) == ("", 0)
    assert done.environment["LOADED"] == "load gcc/12 cuda/12.4"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MEDS1_ENV": "/no/such"}, "MEDS1_ENV=/no/such is no virtual environment, and conda is not there"),
        (
            {"MEDS1_MODULES": "gcc"},
            "MEDS1_MODULES is set but there is no 'module' command; set it up in config.local.sh",
        ),
    ],
)
def test_a_setting_that_cannot_be_met_is_one_line_and_a_failure(
    checkout: Path, shell: str, variables: dict[str, str], message: str
) -> None:
    done = source(checkout, shell, **variables)
    assert (done.output, done.status) == (f"config.sh: {message}\n", 3)
    stopped = source(checkout, shell, before="set -e", **variables)
    assert (stopped.output, stopped.environment) == (f"config.sh: {message}\n", {})


def test_two_clones_in_one_shell(checkout: Path) -> None:
    second = checkout.parent / "second"
    shutil.copytree(checkout, second)
    first = f". '{checkout}/config.sh'; . '{second}/config.sh'"
    assert source(second, before=first).environment["MEDS1_HOME"] == str(second)
    back = source(checkout, before=first)
    assert back.environment["PATH"].startswith(f"{checkout}/bin:")
