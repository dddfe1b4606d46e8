"""`meds1 report`: what its pages and data say, that nothing in them is run, and how its folder is replaced."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from plotting.paired_tests import adjusted, paired_test
from plotting.predictions import answers_by_benchmark
from plotting.report import make, pairs
from plotting.report.answers import CHUNK
from plotting.report.curves import draw_curve
from plotting.report.folder import replaced
from plotting.report.index import benchmark_list, index_data
from plotting.report.make import Made, _processes, make_report
from plotting.report.pairs import by_run, comparisons, reference_of
from plotting.report.predictions import write_predictions
from plotting.report.runs import Marks
from plotting.report.scripts import script
from plotting.runs import run_of
from registry.catalog import Display
from registry.edits import add_note
from registry.errors import UsageError
from registry.spending import told
from registry.store import Registry
from tests.figure_cases import answered_lab, asked, numbers, run_with
from tests.figure_family_cases import rewarded
from tests.lab import Lab, lab_environment
from tests.original_registry import original_document, write_files
from tests.small_lab import answer_of, edit_json, save, write_json

ODD = "odd+name=@a:b,c." + "x" * 112
MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
SHOWN = ("base", "base-step", "random-1k-step", "s1-1k", "s1-10k-thinking", "failed", "deleted", ODD)


@dataclass
class Page(HTMLParser):
    """The parts of a page that can do something, its tables, and its text."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts += data
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


def page(path: Path) -> Page:
    found = Page()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def data(report: Path, key: str) -> Any:
    """The content of a data file, read as the one call that it is."""
    text = (report / "data" / f"{key}.js").read_text(encoding="ascii")
    call = re.fullmatch(r"meds1Data\((\".*?\"),(.*)\);\n", text, re.DOTALL)
    assert call is not None
    assert json.loads(call[1]) == key
    assert not set(text) & set("<>&")
    return json.loads(call[2])


def chunks(report: Path, folder: str) -> list[Any]:
    """The rows of the numbered data files of a folder, in order."""
    count = len(list((report / "data" / folder).iterdir()))
    return [row for number in range(count) for row in data(report, f"{folder}/{number}")]


def made_of(lab: Lab, names: Sequence[str], out: Path) -> Made:
    """The report of some experiments, made without the command."""
    view = lab.registry.read()
    return make_report(lab.registry, view, [run_of(lab.registry, view, name) for name in names], out)


@pytest.fixture(scope="module")
def study(study: Registry, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The invented study's registry with one more experiment and attempt, and markup in what people and a run wrote."""
    folder, made = tmp_path_factory.mktemp("report"), study.paths.file.parent
    shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache", "output"))
    lab = Lab(folder, {**lab_environment(folder), "OTHER_API_KEY": "secret-0123456789"})

    def change(document: dict[str, Any]) -> None:
        document["experiments"]["s1-1k"]["description"] = MARKUP
        document["experiments"][ODD] = {"config": "same as base", "tags": [MARKUP]}
        document["experiments"][ODD]["config"] = document["experiments"]["base"]["config"]

    edit_json(folder / "results.json", change)
    add_note(lab.registry, "s1-1k", f"seen: {MARKUP}")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CACHE_DIR", lab.environment["CACHE_DIR"])
        environment.setenv("MED_S1K_OUTPUT", lab.environment["MED_S1K_OUTPUT"])
        failed = save(lab, "failed", "training", "failed", error="the loss is not a number at step 31")
    (failed.folder / "log.err").write_text(f"step 1\rstep 2\n{MARKUP}\nkey secret-0123456789\n")
    return lab


@pytest.fixture(scope="module")
def report(study: Lab) -> Path:
    answer = answer_of(study, "report", *SHOWN, "--out", str(study.folder / "report"))
    folder = study.folder / "report"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert (answer["data"]["folder"], answer["data"]["files"]) == (str(folder), len(files))
    assert answer["data"]["bytes"] == sum(path.stat().st_size for path in files)
    assert sorted(answer["data"]["experiments"]) == sorted(SHOWN)
    assert answer["data"]["with_predictions"] == len(SHOWN) - 3
    return folder


class TestPages:
    def test_every_link_and_file_is_there(self, report: Path) -> None:
        pages = sorted(report.rglob("*.html"))
        assert len(pages) == 4 + len(SHOWN)
        for path in pages:
            found = page(path)
            ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
            for tag, attributes in found.tags:
                address = attributes.get("href" if tag in ("a", "link") else "src")
                if address is None:
                    continue
                parts = urlsplit(address)
                assert (parts.scheme, parts.netloc, parts.query) == ("", "", ""), address
                assert (path.parent / unquote(parts.path)).resolve().is_file() or not parts.path, (path, address)
                assert parts.path or parts.fragment in ids, (path, address)

    def test_nothing_comes_from_the_network(self, report: Path) -> None:
        for path in [*report.rglob("*.html"), *report.rglob("assets/*")]:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(src|href|url|import|fetch|open)\W{1,3}(https?:)?//", text), path

    def test_markup_in_what_people_and_models_write_stays_text(self, report: Path) -> None:
        for path in report.rglob("*.html"):
            found = page(path)
            assert found.scripts == "", path
            assert all(set(attributes) <= {"src", "defer"} for attributes in found.all("script")), path
            assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes), path
        assert page(report / "experiments/s1-1k.html").text.count(MARKUP) >= 2
        assert MARKUP in page(report / "experiments/failed.html").text

    def test_the_leaderboard_holds_the_registrys_numbers(self, report: Path, study: Lab) -> None:
        index = page(report / "index.html")
        columns = [head["data-benchmark"] for head in index.all("th") if head.get("data-benchmark")]
        rows = index.tags[next(n for n, (_, a) in enumerate(index.tags) if a.get("data-name")) :]
        cells: dict[str, list[str]] = {}
        for tag, attributes in rows:
            if tag == "tr":
                cells[str(attributes["data-name"])] = []
            elif tag == "td" and attributes.get("class") == "number":
                cells[list(cells)[-1]].append(str(attributes["data-value"]))
        assert sorted(cells) == sorted(SHOWN)
        for name, values in cells.items():
            scores = (study.results(name).get("eval") or {}).get("metrics", {}).get("benchmarks", {})
            expected = [str(scores[column]["accuracy"]) if column in scores else "" for column in columns]
            assert values[: len(columns)] == expected, name
        assert list(cells)[-2:] == ["failed", ODD]

    def test_the_leaderboards_remarks_are_those_of_the_command(self, report: Path, study: Lab) -> None:
        text = page(report / "index.html").text
        remarks = {row["experiment"]: row["remark"] for row in answer_of(study, "leaderboard", *SHOWN, code=3)["data"]}

        assert any(remark.startswith("asked in another way than most: ") for remark in remarks.values())
        assert [name for name, remark in remarks.items() if remark not in text] == []

    def test_a_page_shows_config_history_stages_and_scores(self, report: Path, study: Lab) -> None:
        text = " ".join(page(report / "experiments/random-1k-step.html").text.split())
        results = study.results("random-1k-step")

        assert "curation.extract" in text
        assert "same as base" in text
        for stage in ("curation", "training", "eval"):
            assert results[stage]["fingerprint"] in text
            assert results[stage]["timestamp"] in text
        assert results["eval"]["provenance"]["git"]["commit"] in text
        for steps in results["curation"]["metrics"]["reasons"].values():
            assert all(reason in text for reason in steps)
        assert told(results["curation"]["spending"]) in text
        assert "../figures/curves/random-1k-step.svg" in [
            img["src"] for img in page(report / "experiments/random-1k-step.html").all("img")
        ]

    def test_logs_are_shown_without_keys_and_what_a_bar_drew_over(self, report: Path) -> None:
        text = page(report / "experiments/failed.html").text

        assert "step 2" in text
        assert "step 1\r" not in text
        assert "key <OTHER_API_KEY>" in text
        assert "the loss is not a number at step 31" in text

    def test_figures_that_lack_data_say_what(self, study: Lab, report: Path) -> None:
        found = page(report / "figures.html")

        assert "figures/comparison.png" in [img["src"] for img in found.all("img")]
        assert {f"figures/comparison.{form}" for form in ("png", "pdf", "csv")} <= {
            a.get("href") for a in found.all("a")
        }
        assert "failed: has no eval result" in found.text


class TestData:
    @pytest.mark.parametrize("name", ["s1-1k", "s1-10k-thinking"])
    def test_predictions_come_through_as_they_are(self, name: str, report: Path, study: Lab) -> None:
        index, run = data(report, "index"), data(report, f"runs/{name}")
        numbered = {benchmark["key"]: f"b{number}" for number, benchmark in enumerate(index["benchmarks"])}
        path = Path(study.results(name)["eval"]["predictions_path"])
        with path.open(encoding="utf-8") as lines:
            predictions = [json.loads(line) for line in lines]
        for source, key in numbered.items():
            found, own = run[source], [one for one in predictions if one["source"] == source]
            questions, answers = chunks(report, f"questions/{key}"), chunks(report, f"answers/{name}/{key}")
            asked = [questions[row] for row in found["row"]]
            assert [q[0] for q in asked] == [one["id"] for one in own]
            for (_, question_id, question, options, gold, specialty), answer, one in zip(
                asked, answers, own, strict=True
            ):
                assert (question_id, question, gold, specialty) == tuple(
                    one[name] for name in ("question_id", "question", "gold", "specialty")
                )
                assert dict(options) == one["options"]
                assert (answer["thinking"], answer["answer"]) == (one["thinking"], one["answer_text"])
                assert answer["output"] in (None, one["output"])
            assert found["correct"] == "".join(str(int(one["correct"])) for one in own)
            assert found["extracted"] == [one["extracted"] for one in own]
            assert found["failure"] == [one["failure_mode"] for one in own]
            assert found["tokens"] == [one["completion_tokens"] for one in own]
            assert (found["budget"] or [None] * len(own)) == [one["budget"] for one in own]
            assert (found["repetition"] or [0] * len(own)) == [one["repetition"] for one in own]

    def test_the_studys_odd_outputs_are_there_as_text(self, report: Path) -> None:
        texts = [answer["thinking"] or "" for answer in chunks(report, "answers/s1-1k/b0")]
        texts += [answer["thinking"] or "" for answer in chunks(report, "answers/s1-1k/b1")]

        assert any("<script>alert(1)</script>" in text for text in texts)

    def test_what_is_no_text_of_utf8_comes_through(self) -> None:
        value = {"lone \ud800 surrogate": "a\x00b\u2028c\u2029</script>&amp;"}

        text = script("k", value)

        assert json.loads(text[len('meds1Data("k",') : -3]) == value
        assert text.isascii()
        assert "</" not in text

    def test_keys_that_json_escapes_are_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OWN_API_KEY", 'a"b\\c-ü-0123')
        monkeypatch.setenv("NUMBER_API_KEY", "12345678")

        text = script("k", {"said": 'with a"b\\c-ü-0123', "count": 12345678})

        assert json.loads(text[len('meds1Data("k",') : -3]) == {"said": "with <OWN_API_KEY>", "count": 12345678}

    def test_tests_of_pairs_are_those_of_meds1_compare(self, report: Path, study: Lab) -> None:
        one, other = (
            answers_by_benchmark(Path(study.results(name)["eval"]["predictions_path"]))
            for name in ("random-1k-step", "s1-1k")
        )
        expected = {test.benchmark: test for test in adjusted([paired_test(s, one[s], other[s]) for s in one])}

        found, mirrored = (
            data(report, f"pairs/{a}")[b]["tests"]
            for a, b in (("random-1k-step", "s1-1k"), ("s1-1k", "random-1k-step"))
        )

        assert found.keys() == expected.keys()
        for source, test in expected.items():
            shown, back = found[source], mirrored[source]
            assert (shown["difference"], shown["low"], shown["high"]) == pytest.approx((test.difference, *test.ci))
            assert (shown["p"], shown["p_holm"], shown["n"]) == pytest.approx((test.p_value, test.p_holm, test.n))
            assert shown["wrong_to_right"] == back["right_to_wrong"] == test.flips.wrong_to_right
            assert (back["difference"], back["low"], back["high"]) == pytest.approx(
                (-test.difference, -test.ci[1], -test.ci[0])
            )

    def test_so_few_are_held_against_each_other(self, report: Path) -> None:
        assert data(report, "index")["reference"] is None

    def test_runs_that_are_not_ranked_say_why_and_are_not_tested(self, report: Path) -> None:
        found = data(report, "pairs/base")

        assert "prompting" in found["base-step"]["ranked"]["medical-mcq"]
        assert found["base-step"]["tests"] == {}
        assert found["deleted"]["ranked"]["medical-mcq"] is True
        assert "eval_predictions.jsonl is not on this machine" in found["deleted"]["untested"]["medical-mcq"]

    def test_a_stale_run_of_a_pair_is_said_to_be_stale(self) -> None:
        runs = [run_with("one", {"mcq": numbers(90)}), run_with("two", {"mcq": numbers(80)}, status="stale")]
        standings = comparisons(runs, {}, {run.experiment: "no predictions" for run in runs})
        found = dict(by_run(standings, {}, runs, {"mcq": "mcq"}))

        assert found["one"]["two"]["remarks"][0] == "two: stale"
        assert found["two"]["one"]["remarks"][0] == "two: stale"

    def test_of_too_many_runs_each_is_held_against_the_first_of_the_leaderboard(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pairs, "MOST_RUNS", 3)
        right = {"low": 50, "best": 90, "middle": 70, "lost": 95}
        runs = [asked(name, correct) for name, correct in right.items()]
        absent = {"lost": "lost: its predictions are not here"}

        reference = reference_of(runs, set(right) - set(absent))

        assert reference is not None
        assert reference.experiment == "best"
        assert reference.reason.startswith("4 experiments with scores are 6 pairs, too many for the report to test: ")
        assert "name at most 3 in `meds1 report NAME ...`, or run `meds1 compare A B`" in reference.reason
        alone = Marks(np.zeros(1, np.int8), np.zeros(1, np.int64), b"", b"")
        marks = {name: {"mcq": alone} for name in right if name not in absent}
        standings = comparisons(runs, marks, absent, reference)
        assert {key[:2] for key in standings} == {("low", "best"), ("best", "middle"), ("best", "lost")}
        assert sum(len(task.others) for task in pairs.tasks(standings, marks)) == 2
        assert standings["best", "lost", "mcq"].untested == absent["lost"]
        assert reference_of(runs[:3], right) is None
        hot = reference_of([*runs, asked("hot", 99, temperature=0.9)], [*right, "hot"])
        assert hot is not None
        assert hot.experiment == "lost"

    @pytest.mark.parametrize(
        ("having", "said"),
        [
            (["low", "hot"], "low, the best with predictions that was asked as most were,"),
            (["hot", "hotter"], "hotter, the best with predictions, all of which were asked in another way than most,"),
            ([], "best, the first of the leaderboard, where none has predictions,"),
        ],
    )
    def test_what_all_are_held_against_is_not_said_to_be_what_it_is_not(
        self, having: list[str], said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pairs, "MOST_RUNS", 3)
        runs = [asked(name, correct) for name, correct in {"low": 50, "middle": 70, "best": 90}.items()]
        runs += [asked(name, correct, temperature=0.9) for name, correct in {"hot": 60, "hotter": 65}.items()]

        reference = reference_of(runs, having)

        assert reference is not None
        assert reference.experiment == said.partition(",")[0]
        assert f"too many for the report to test: it holds {said} against each of the others; " in reference.reason

    def test_a_report_of_too_many_runs_says_which_pairs_it_holds(
        self, study: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(pairs, "MOST_RUNS", 1)
        monkeypatch.setattr("registry.progress.LOG_SECONDS", 0.0)
        monkeypatch.setattr(make, "KINDS", {kind: make.KINDS[kind] for kind in ("funnel", "comparison")})

        made = made_of(study, ["random-1k-step", "deleted"], tmp_path / "report")

        # The predictions, the curve and the page of each, two figures; nothing can be tested.
        assert re.findall(r"report: (\d+) of (\d+)", capsys.readouterr().err)[-1] == ("8", "8")
        (warning,) = made.warnings
        assert (
            "it holds random-1k-step, the best with predictions that was asked as most were, against each of the others"
            in warning
        )
        assert data(tmp_path / "report", "index")["reference"] == {"experiment": "random-1k-step", "reason": warning}
        assert data(tmp_path / "report", "pairs/deleted").keys() == {"random-1k-step"}
        assert warning in page(tmp_path / "report/index.html").text

    def test_a_run_without_scores_has_nothing_to_compare_and_a_file_that_says_so(self, report: Path) -> None:
        assert data(report, "pairs/failed") == {}

    def test_metrics_that_tell_nothing_are_not_offered(self) -> None:
        def offered(*rewards: int) -> set[str]:
            found = [
                numbers(90, empty=0, unanswered=3, text={"accuracy_reward": {"mean": reward / 200, "n": 200}})
                for reward in rewards
            ]
            runs = [run_with(f"run-{number}", {"mcq": one}) for number, one in enumerate(found)]
            return {metric["name"] for metric in index_data(runs, benchmark_list(runs, Display()), {})["metrics"]}

        assert offered(90, 90) == {"accuracy", "unanswered", "mean_reasoning_tokens"}
        assert offered(90, 91) - offered(90, 90) == {"text.accuracy_reward"}

    def test_configs_have_their_origins(self, report: Path) -> None:
        config = {path: (value, origin) for path, value, origin in data(report, "config/s1-10k-thinking")}

        assert config["curation.n_samples"] == (10_000, "own")
        assert config["eval.seed"] == (0, "built-in")
        assert not any(path.startswith(("model.", "eval_datasets.")) for path in config)


class TestCurves:
    def test_a_training_by_rewards_shows_these(self, tmp_path: Path) -> None:
        log = Path(rewarded(tmp_path).results["training"]["log_path"])

        assert draw_curve(log, tmp_path / "curve.svg") == "reward"
        assert (tmp_path / "curve.svg").is_file()

    def test_a_torn_log_has_none(self, tmp_path: Path) -> None:
        log = tmp_path / "torn.parquet"
        log.write_bytes(b"PAR1 torn")

        assert draw_curve(log, tmp_path / "curve.svg") == ""


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get("MEDS1_ROOT") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


class TestFolder:
    def test_a_killed_run_leaves_the_old_report_and_the_next_one_replaces_it(self, study: Lab, report: Path) -> None:
        out, arguments = study.folder / "twice", ("report", "base", "--out", str(study.folder / "twice"))
        shutil.copytree(report, out)
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        command = [str(study.code / "bin" / "meds1"), *arguments]
        environment = {**study.environment, "MEDS1_ROOT": str(out)}

        killed = subprocess.Popen(command, cwd=study.code, env=environment, start_new_session=True)
        while not (study.folder / ".twice.new/data").exists():
            assert killed.poll() is None
            time.sleep(0.02)
        for process in processes_of(out):
            with suppress(psutil.NoSuchProcess):  # a helper ends by itself with those that are killed
                if process.pid == killed.pid or "spawn_main" not in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGKILL)
        killed.wait()

        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        end = time.monotonic() + 60
        while list(processes_of(out)):
            assert time.monotonic() < end, "its processes live on"
            time.sleep(0.05)
        edit_json(study.folder / "results.json", lambda body: body["experiments"]["base"].update(description="anew"))
        study.meds1(*arguments)
        assert "anew" in page(out / "experiments/base.html").text
        assert not (out / "experiments/s1-1k.html").exists()
        assert [path.name for path in study.folder.iterdir() if "twice" in path.name] == ["twice"]

    def test_a_folder_that_is_no_report_is_left_alone(self, study: Lab, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")

        done = study.meds1("report", "base", "--out", str(tmp_path), code=2)

        assert done.stderr.splitlines()[-1].endswith("choose another --out, or move it away")
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_link_to_a_report_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "report")
        for turn in ("first", "second"):
            with replaced(tmp_path / "link") as new:
                (new / "data").mkdir()
                (new / "data/index.js").write_text(script("index", turn))

        assert (tmp_path / "link").is_symlink()
        assert data(tmp_path / "report", "index") == "second"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "report"]

    def test_two_at_once(self, tmp_path: Path) -> None:
        out = tmp_path / "report"
        second = replaced(out)
        with replaced(out) as new:
            (new / "data").mkdir()
            (new / "data/index.js").write_text(script("index", {}))
            with pytest.raises(UsageError, match="another `meds1 report` is writing it"):
                second.__enter__()

        assert (out / "data/index.js").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["report"]

    def test_an_interrupted_one_leaves_nothing(self, tmp_path: Path) -> None:
        making = replaced(tmp_path / "report")
        (making.__enter__() / "half").write_text("")

        assert making.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is not True
        assert list(tmp_path.iterdir()) == []

    def test_an_interrupt_while_its_processes_begin_is_not_theirs(self) -> None:
        with _processes() as pool:
            pids = [child.pid for child in multiprocessing.active_children() if child.pid]
            for pid in pids:
                os.kill(pid, signal.SIGINT)

            assert len(pids) == 2
            assert pool.submit(len, "abc").result() == 3

    def test_a_file_is_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "report").write_text("")

        with pytest.raises(UsageError, match="is no report of meds1"), replaced(tmp_path / "report"):
            pass


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize("fault", [b'"options": ["yes", "no"]', b'"options": {}\n{torn'])
    def test_one_warns_and_leaves_nothing(self, fault: bytes, tmp_path: Path) -> None:
        """Read in this process, so that nothing but the files counts."""
        runs = answered_lab(tmp_path, {"good": 150, "bad": 150}, questions=CHUNK + 50)
        good, path = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
        good.write_bytes(good.read_bytes().replace(b'"id":', b'"output": "", "answer_text": "", "id":'))
        lines = good.read_bytes().splitlines(keepends=True)
        lines[CHUNK + 20] = lines[CHUNK + 20].replace(b'"gold"', fault + b', "gold"')
        path.write_bytes(b"".join(lines))

        with ThreadPoolExecutor(1) as pool:
            found = write_predictions(runs[::-1], {"mcq": 0, "hard": 1}, tmp_path / "report", pool, lambda: None)

        (warning,) = found.warnings
        assert re.match(rf"bad: {re.escape(str(path))}: .*; copy (it|the file) anew", warning)
        assert [folder.name for folder in (tmp_path / "report/data/answers").iterdir()] == ["good"]
        assert list(found.marks) == ["good"]
        rows, questions = (
            data(tmp_path / "report", "runs/good")["mcq"]["row"],
            chunks(tmp_path / "report", "questions/b0"),
        )
        assert rows == list(range(len(questions))) == list(range(CHUNK + 50))


class TestElsewhere:
    def test_a_copy_of_results_and_predictions_and_a_torn_file(
        self, study: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a laptop: the recorded paths are of the cluster, CACHE_DIR is a copy of some of its runs."""
        made = study.results("base")["eval"]["run_dir"].partition("/cache/")[0]
        for name in ("results.json", "config.json"):
            text = (study.folder / name).read_text().replace(made, "/cluster")
            (tmp_path / name).write_text(text)
        for name in ("base", "s1-1k"):
            shutil.copytree(f"{made}/cache/runs/{name}/eval", tmp_path / f"cache/runs/{name}/eval")
        torn = next(tmp_path.glob("cache/runs/s1-1k/eval/*/eval_predictions.jsonl"))
        torn.write_bytes(torn.read_bytes()[:-100])
        laptop = Lab(tmp_path, lab_environment(tmp_path))
        monkeypatch.setenv("CACHE_DIR", laptop.environment["CACHE_DIR"])
        monkeypatch.setattr(make, "KINDS", {})

        made = made_of(laptop, ["base", "s1-1k", "s1-5k"], tmp_path / "report")

        assert made.with_predictions == 1
        (warning,) = made.warnings
        assert re.search(r"^s1-1k: .*eval_predictions\.jsonl: line \d+ is no JSON object; copy the file anew", warning)
        shown = {one["name"]: one for one in data(tmp_path / "report", "index")["experiments"]}
        assert shown["base"]["predictions"] is True
        assert shown["s1-1k"]["why_no_predictions"] == warning
        assert "is not on this machine; copy it there, or to" in shown["s1-5k"]["why_no_predictions"]
        assert not (tmp_path / "report/data/runs/s1-1k.js").exists()
        assert warning in page(tmp_path / "report/index.html").text

    def test_a_registry_of_the_original_project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        document = original_document(str(tmp_path))
        write_files(document)
        write_json(tmp_path / "results.json", document)
        shutil.copy("config.json", tmp_path / "config.json")
        lab = Lab(tmp_path, lab_environment(tmp_path))
        names = [n for n, body in document["experiments"].items() if (body.get("results") or {}).get("eval")][:2]
        monkeypatch.setattr(make, "KINDS", {})

        made = made_of(lab, names, tmp_path / "report")

        assert made.with_predictions == 0
        (one, *_) = data(tmp_path / "report", "index")["experiments"]
        assert one["scores"]
        assert "another program recorded it" in one["why_no_predictions"]
        assert one["why_no_predictions"] in page(tmp_path / f"report/experiments/{names[0]}.html").text

    def test_no_experiment_is_an_error(self, tmp_path: Path) -> None:
        write_json(tmp_path / "results.json", {"format": 1, "experiments": {}})
        write_json(tmp_path / "config.json", {})

        done = Lab(tmp_path, lab_environment(tmp_path)).meds1("report", code=2)

        assert "the registry has no experiments yet" in done.stderr
