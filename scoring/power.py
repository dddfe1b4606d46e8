"""How small a difference between two runs a benchmark can show."""

from __future__ import annotations

import math
from statistics import NormalDist

from scoring.pairs import Pairs, question_differences


def discordance(pairs: Pairs) -> float:
    """Return the mean square of the questions' differences; of questions asked once, the share that changes."""
    return float((question_differences(pairs) ** 2).mean())


def one_way(pairs: Pairs) -> float:
    """Return the difference that there would be if all questions that differ did so in favour of one run."""
    return float(abs(question_differences(pairs)).mean())


def minimal_detectable_difference(
    discordance: float, n_questions: int, *, largest: float | None = None, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the smallest true difference (a share) that a two-sided paired test at `alpha` finds with chance `power`.

    Solves R. Connor's sample size for paired proportions, n d^2 = (z_alpha sqrt(s) + z_power sqrt(s - d^2))^2 for a
    discordance s (Sample size for testing differences in proportions for the paired-sample design, Biometrics 43 (1987)
    207-211), for d. Null where even `largest`, the change if all of it went one way, would be too small to be found:
    that is s where every question is asked once, else `one_way`. Raises ValueError for shares outside 0 to 1, for a
    power of a half or less, and without questions.
    """
    if not (0 <= discordance <= 1 and 0 < alpha < 1 and 0.5 < power < 1 and n_questions >= 1):
        raise ValueError(f"no difference for {discordance=}, {n_questions=}, {alpha=}, {power=}")
    normal = NormalDist()
    level, chance = normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)
    remaining = n_questions - level**2 + chance**2
    if discordance == 0 or remaining < 0:
        return None
    root = math.sqrt(discordance)
    found = root * (level * math.sqrt(n_questions) + chance * math.sqrt(remaining)) / (n_questions + chance**2)
    return found if found <= (discordance if largest is None else largest) else None
