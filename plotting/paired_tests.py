"""The paired test of two runs on one benchmark: how far they are apart, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from plotting.predictions import Answered, headline
from registry.errors import naming
from scoring.bootstrap import RESAMPLES, cluster_means
from scoring.multiple import holm
from scoring.paired import difference_interval, mcnemar, permutation_test
from scoring.pairs import Flips, Pairs, flips, pair
from scoring.power import discordance, minimal_detectable_difference, one_way

Method = Literal["mcnemar", "permutation", "bootstrap"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class PairedTest:
    """Run b against run a on a benchmark: `n` answers to `n_questions` questions, the units of every test.

    Accuracies are means over questions, as eval has them; `difference` is b minus a, `ci` its 95 % interval. `better`
    and `worse` count the questions of which b, or a, has more answers right, `flips` the answers. `detectable` is the
    smallest difference that one such test finds with a power of 80 %; null where it finds none. `p_holm` is adjusted
    for a family of `family` tests; null before `adjusted`.
    """

    benchmark: str
    n: int
    n_questions: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    ci: tuple[float, float]
    method: Method
    p_value: float
    better: int
    worse: int
    flips: Flips
    detectable: float | None
    p_holm: float | None = None
    family: int = 1

    @property
    def p(self) -> float:
        """The p-value to be held against a level: the adjusted one where there is one."""
        return self.p_value if self.p_holm is None else self.p_holm


def paired_test(
    benchmark: str,
    a: Sequence[Answered],
    b: Sequence[Answered],
    *,
    method: Method | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedTest:
    """Test two runs on the same items; of several budgets of thinking the largest counts.

    Raises `UsageError` where items or prompts differ. See `assessed`.
    """
    with naming(benchmark):
        pairs = pair([answer.outcome for answer in headline(a)], [answer.outcome for answer in headline(b)])
    return assessed(benchmark, pairs, method=method, seed=seed, resamples=resamples)


def assessed(
    benchmark: str, pairs: Pairs, *, method: Method | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> PairedTest:
    """Test two runs whose answers are paired already.

    Without a `method`: McNemar's exact test where every question is answered once; where answers or questions repeat,
    the permutation test over questions, whose statistic is the very difference that is shown.
    """
    interval = difference_interval(pairs, seed=seed, resamples=resamples)
    signs = mcnemar(pairs)
    used: Method = method or ("mcnemar" if interval.n_questions == len(pairs.a) else "permutation")
    return PairedTest(
        benchmark=benchmark,
        n=len(pairs.a),
        n_questions=interval.n_questions,
        accuracy_a=_accuracy(pairs.a, pairs),
        accuracy_b=_accuracy(pairs.b, pairs),
        difference=interval.difference,
        ci=interval.ci,
        method=used,
        p_value={
            "mcnemar": lambda: signs.p_value,
            "permutation": lambda: permutation_test(pairs, seed=seed, resamples=resamples).p_value,
            "bootstrap": lambda: interval.p_value,
        }[used](),
        better=signs.better,
        worse=signs.worse,
        flips=flips(pairs),
        detectable=minimal_detectable_difference(discordance(pairs), interval.n_questions, largest=one_way(pairs)),
    )


def adjusted(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """The tests with p-values adjusted by Holm, all of them being one family."""
    p_values = holm([test.p_value for test in tests])
    return [replace(test, p_holm=p, family=len(tests)) for test, p in zip(tests, p_values, strict=True)]


def _accuracy(scores: Sequence[float], pairs: Pairs) -> float:
    return float(cluster_means(scores, pairs.questions).mean())
