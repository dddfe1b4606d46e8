"""Whether runs of equal skill are told apart that should not be."""

from __future__ import annotations

from benchmarks.equal_runs import simulate
from benchmarks.parts import Report, Say
from registry.console import Grid

SHARE = 0.95


def measure_equal_runs(full: bool, say: Say) -> Report:
    """40 simulations (full: 400) of 20 equal runs on 200 questions: how often no pair is significant after Holm."""
    return equal_runs(400 if full else 40, say)


def equal_runs(count: int, say: Say) -> Report:
    """So many simulations, drawn with one seed."""
    say(f"{count} simulations of 20 equal runs")
    share = simulate(count, seed=0) / count
    sound = share >= SHARE
    rows = [[f"{count} simulations", f"{share:.4f}", f"{SHARE:g}", "met" if sound else "MISSED"]]
    header = ("no pair of 20 equal runs is significant", "share", "at least", "")
    return Report({"simulations": count, "share": share}, (Grid(header, rows, right=(1, 2)),), sound)
