"""What every test meets: an environment without the developer's own settings; one Slurm cluster for `slurm` tests."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.paths import RegistryPaths
from registry.store import Registry
from tests import browser
from tests.cluster import throwaway

PRIVATE = ("CACHE_DIR", "MED_S1K_OUTPUT", "GOOGLE_APPLICATION_CREDENTIALS")
PRIVATE_PREFIXES = ("MEDS1_", "SLURM_", "SBATCH_", "SALLOC_", "SRUN_")
PRIVATE_SUFFIXES = ("_API_KEY", "_TOKEN")
KEPT = ("MEDS1_REAL_DATA", "MEDS1_REQUIRE_CHROMIUM", "MEDS1_REQUIRE_SLURM", "SLURM_CONF")


def pytest_configure(config: pytest.Config) -> None:
    """Take the lab's registry, outputs and keys out of the tests' reach, before any library reads them at import.

    A test that needs one of these sets it. The hub is offline: a test that asks it fails at once, not after a time-out.
    """
    for name in list(os.environ):
        private = name in PRIVATE or name.startswith(PRIVATE_PREFIXES) or name.endswith(PRIVATE_SUFFIXES)
        if private and name not in KEPT:
            del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="meds1-tests-")
    config.add_cleanup(home.cleanup)
    os.environ.update(HF_HOME=home.name, HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models: more threads only make the times unsteady
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores interrupts and so would all its children, whom tests interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A `slurm` test always runs on the test cluster: without the fixture its jobs would go to the lab's own."""
    if item.get_closest_marker("slurm") is not None and isinstance(item, pytest.Function):
        item.fixturenames.insert(0, "slurm_cluster")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not here: Slurm, Chromium; with MEDS1_REQUIRE_<program>=1 that is a failure."""
    for marker, why_unavailable in (("slurm", throwaway.why_unavailable), ("chromium", browser.why_unavailable)):
        reason = why_unavailable() if item.get_closest_marker(marker) else None
        if reason is None:
            continue
        if os.environ.get(f"MEDS1_REQUIRE_{marker.upper()}") == "1":
            pytest.fail(f"the {marker} tests must run here: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What a library exports (accelerate does, for FSDP) is gone after the test that it was exported in."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[throwaway.Cluster]:
    """The test cluster, started on first use; SLURM_CONF names it to every Slurm command until the tests end."""
    with throwaway.running() as cluster, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLURM_CONF", str(cluster.conf))
        yield cluster


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The invented study as the command line makes it, with one more seed: made once, to be read and never changed."""
    from demo.__main__ import main
    from demo.study_experiments import experiments

    folder = tmp_path_factory.mktemp("study")
    assert main(["study", str(folder), "--questions", "40", "--experiments", str(len(experiments()) + 1)]) == 0
    return Registry(RegistryPaths(folder / "results.json"), folder / "config.json")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of published benchmark files: MEDS1_REAL_DATA, else shared/data beside the checkout; else a skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDS1_REAL_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set MEDS1_REAL_DATA to the folder of benchmark files")
    return folder
