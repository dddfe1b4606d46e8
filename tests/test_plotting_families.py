"""Which experiments differ in nothing but some fields, and what such families are called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plotting.families import base_of, families, labels
from plotting.runs import Run
from tests.figure_family_cases import RANDOM, TRAINING, config_of, run_of

SIZE, PERTURBATION, EXTRACT = "curation.n_samples", ("curation.perturbation", "curation.restore"), "curation.extract"
FILTERS: dict[str, Any] = {"quality": {}, "decontamination": None, "duplicates": None, "difficulty": None}


def tuned(name: str, curation: dict[str, Any] | None = None, **more: Any) -> Run:
    return run_of(name, config_of({**RANDOM, **(curation or {})}, **more))


def members(runs: list[Run], *varying: str) -> list[list[str]]:
    return [[member.run.experiment for member in family.members] for family in families(runs, varying)]


class TestFamilies:
    def test_only_the_varying_fields_may_differ(self) -> None:
        small, large = tuned("small", {"n_samples": 10}), tuned("large", {"n_samples": 20})
        other_seed = tuned("seed", {"n_samples": 30, "seed": 7})
        other_rate = tuned("rate", {"n_samples": 40}, training_params={**TRAINING, "learning_rate": 1e-4})
        other_model = tuned("model", {"n_samples": 50}, model_key="model-b")
        other_tokens = tuned("tokens", {"n_samples": 60}, eval={"max_tokens": 99})
        runs = [small, other_seed, large, other_rate, other_model, other_tokens]

        assert members(runs, SIZE) == [["small", "large"], ["seed"], ["rate"], ["model"], ["tokens"]]

    @pytest.mark.parametrize(
        "more",
        [
            {"eval": {"concurrency": 3, "max_cost": 1.0}},
            {"eval": {"temperature": 0, "top_p": 0.9}},
            {"slurm": {"training": {"gpus": 8}}},
            {"datasets": {"curate": "train", "eval": ["mcq", "hard"]}},
            {"training_params": {**TRAINING, "gradient_checkpointing": False, "batch_size": 1, "total_batch_size": 4}},
        ],
        ids=["calls", "greedy", "resources", "benchmarks", "memory"],
    )
    def test_what_decides_no_outcome_does_not_count(self, more: dict[str, Any]) -> None:
        params = {"training_params": {**TRAINING, "total_batch_size": 4}} if "training_params" in more else {}

        assert members([tuned("one", **params), tuned("two", **more)], SIZE) == [["one", "two"]]

    def test_an_experiment_without_training_is_in_none(self) -> None:
        assert members([run_of("base", config_of(None)), tuned("one")], SIZE) == [["one"]]

    def test_one_whose_config_cannot_be_read_is_in_none(self) -> None:
        assert members([tuned("one"), replace(tuned("two"), config=None, problem="broken")], SIZE) == [["one"]]

    def test_values_are_those_of_the_varying_fields(self) -> None:
        perturbation = {"type": "skip", "rate": 0.33}
        runs = [tuned("plain", {"extract": "step"}), tuned("skip", {"extract": "step", "perturbation": perturbation})]
        (family,) = families(runs, PERTURBATION)

        assert [dict(member.values) for member in family.members] == [
            {"curation.perturbation": None, "curation.restore": None},
            {
                "curation.perturbation.type": "skip",
                "curation.perturbation.rate": 0.33,
                "curation.restore": None,
            },
        ]

    def test_what_lacks_only_fields_of_others_joins_each_of_their_families(self) -> None:
        """Reasoning as it is has no rewriter, so that it belongs beside both of them."""
        full = tuned("full")
        one = tuned("one", {"extract": "step", "rewriter": {"model_key": "mender", "engine": "vllm"}})
        two = tuned("two", {"extract": "step", "rewriter": {"model_key": "model-b", "engine": "vllm"}})

        assert members([full, one, two], EXTRACT) == [["full", "one"], ["full", "two"]]

    def test_a_filter_that_one_has_and_another_has_not_parts_them(self) -> None:
        labelled = {"labels": {"model_key": "mender", "engine": "vllm"}}

        assert members([tuned("one"), tuned("two", labelled)], SIZE) == [["one"], ["two"]]
        assert members([tuned("one"), tuned("two", {"quality": {}})], SIZE) == [["one"], ["two"]]

    def test_the_base_is_the_untrained_model_asked_the_same_way(self) -> None:
        (family,) = families([tuned("one")], [SIZE])
        step = run_of("step", config_of(None, prompting="step"))
        other = run_of("other", config_of(None, model_key="model-b"))
        unscored = run_of("unscored", config_of(None), None)
        base = run_of("base", config_of(None, datasets={"eval": "hard"}))

        assert base_of(family, [step, other, unscored]) is None
        assert base_of(family, [step, other, unscored, base]) is base

    def test_a_stale_base_is_second_to_a_fresh_one(self) -> None:
        (family,) = families([tuned("one")], [SIZE])
        stale, fresh = run_of("stale", config_of(None), status="stale"), run_of("fresh", config_of(None))

        assert base_of(family, [stale, fresh]) is fresh
        assert base_of(family, [stale]) is stale


class TestLabels:
    def test_a_label_has_only_what_tells_the_families_apart(self) -> None:
        runs = [
            tuned("a", {"seed": 1}),
            tuned("b", {"seed": 2}),
            tuned("c", {"seed": 1}, model_key="model-b"),
        ]

        assert labels(families(runs, [SIZE])) == ["model-a, seed 1", "model-a, seed 2", "model-b, seed 1"]

    def test_a_field_that_is_not_there_is_said_in_words(self) -> None:
        runs = [tuned("a"), tuned("b", {"quality": {}}), tuned("c", {"extract": ["cot", "step"]})]

        found = labels(families(runs, [SIZE]))

        assert len(set(found)) == 3
        assert found[1] == "no extract, quality"
        assert found[2] == "extract cot + step, no quality"

    def test_display_groups_are_used_where_they_tell_all_apart(self) -> None:
        one, two = replace(tuned("a", {"seed": 1}), group="first"), replace(tuned("b", {"seed": 2}), group="second")
        assert labels(families([one, two], [SIZE])) == ["first", "second"]

        same = replace(two, group="first")
        assert labels(families([one, same], [SIZE])) == ["seed 1", "seed 2"]

    def test_one_family_alone_is_called_by_its_method(self) -> None:
        assert labels(families([run_of("a", config_of({**FILTERS, "method": "s1", "n_samples": 9}))], [SIZE])) == ["s1"]
