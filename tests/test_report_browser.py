"""The HTML report in a real browser, opened from disk: what a reader sees, clicks and types."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from registry.store import Registry
from tests.browser import Watched, running, watched
from tests.report_pages import (
    MCQ,
    QUESTIONS,
    REPEATED,
    ROWS,
    column,
    data,
    grown,
    luminance,
    place,
    shown,
    write,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.chromium
RUNS = ("base", "random-1k", "s1-1k", "s1-10k-thinking", "failed", "deleted", "limited")
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
# the names of what scrolls, and of what the keyboard reaches
SCROLLING = """places => {
  const scrolls = (place) => place.scrollWidth > place.clientWidth || place.scrollHeight > place.clientHeight;
  const name = (place) => place.querySelector('caption')?.textContent ?? place.previousElementSibling.textContent;
  const reached = places.filter((place) => place.tabIndex === 0);
  return [places.filter(scrolls).map(name), reached.map((place) => place.ariaLabel)];
}"""
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def made_report(study: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a few experiments of the invented study, as `meds1 report` writes it."""
    folder = tmp_path_factory.mktemp("report")
    files = ["--registry", str(study.paths.file), "--config", str(study.catalog_path)]
    done = subprocess.run(
        [ROOT / "bin" / "meds1", "report", *RUNS, *files, "--out", folder / "report"],
        env={**os.environ, "CACHE_DIR": str(study.paths.file.parent / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "report"


@pytest.fixture
def report(browser: Browser, made_report: Path) -> Iterator[Watched]:
    """The report's pages in a window of their own; at the end nothing may have been complained of."""
    with browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900}) as context:
        page = watched(context.new_page(), made_report)
        yield page
        assert page.complaints == []


class TestLeaderboard:
    def test_a_heading_sorts_by_its_numbers_in_both_directions_with_the_empty_last(self, report: Watched) -> None:
        page = report.open("index.html")
        heading = page.locator('th[data-key="b0"]')
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        values = [float(value) for value in column(page, "b0") if value]
        assert values == sorted(values, reverse=True)
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert [float(value) for value in column(page, "b0") if value] == sorted(values)
        assert column(page, "b0")[-1] == ""

    def test_filters_and_order_are_in_the_address_and_come_back_with_it(self, report: Watched) -> None:
        page = report.open("index.html")
        page.get_by_label("Filter").fill("s1")
        page.locator('th[data-key="name"] button').click()
        expect(page.locator(ROWS)).to_have_count(2)
        kept, before = page.url.partition("#")[2], shown(page)
        page = report.open(f"index.html#{kept}")
        assert sorted(before) == ["s1-10k-thinking", "s1-1k"]
        assert shown(page) == before
        page = report.open("index.html#status=missing")
        assert shown(page) == ["failed"]
        page.get_by_label("Status").select_option("")
        assert sorted(shown(page)) == sorted(RUNS)

    def test_columns_show_another_metric_or_are_hidden(self, report: Watched) -> None:
        page = report.open("index.html")
        page.get_by_label("Metric").select_option("unanswered")
        expect(page.locator("#leaderboard caption")).to_contain_text("Answers without an answer in % (lower is better)")
        expect(page.locator("#leaderboard th[data-key=macro]")).to_be_hidden()
        scores = {run["name"]: run["scores"] for run in data(report.folder, "index")["experiments"]}
        key = page.locator('th[data-key="b0"]').get_attribute("data-benchmark")
        for name, value in zip(shown(page), column(page, "b0"), strict=True):
            wanted = scores[name].get(key, {"measures": {}})["measures"].get("unanswered")
            assert wanted == (None if value == "" else [float(value), *wanted[1:]])
        page.get_by_text("Benchmarks", exact=True).click()
        page.locator(".menu input").first.uncheck()
        assert page.locator('th[data-key="b0"]').is_hidden()

    def test_without_scores_there_is_no_metric_or_benchmark_to_choose(self, report: Watched, tmp_path: Path) -> None:
        for name in ("assets", "data"):
            (tmp_path / name).symlink_to(report.folder / name)
        page = (report.folder / "index.html").read_text()
        (tmp_path / "index.html").write_text(page.replace(" data-benchmark=", " data-none="))
        opened = watched(report.page, tmp_path).open("index.html")
        expect(opened.get_by_label("Status")).to_be_visible()
        expect(opened.get_by_label("Metric")).to_have_count(0)
        expect(opened.get_by_text("Benchmarks", exact=True)).to_have_count(0)

    def test_two_ticked_experiments_are_compared(self, report: Watched) -> None:
        page = report.open("index.html")
        page.get_by_label("Compare base", exact=True).check()
        page.get_by_label("Compare s1-1k", exact=True).check()
        assert page.get_by_label("Compare random-1k", exact=True).is_disabled()
        page.locator("#compare-picked").click()
        page.locator(".conclusion").first.wait_for()
        assert page.get_by_label("A (the reference)").input_value() == "base"

    def test_an_experiment_opens_and_its_config_can_be_filtered(self, report: Watched) -> None:
        page = report.open("index.html")
        page.locator('tr[data-name="s1-1k"] a').click()
        page.wait_for_url("**/experiments/s1-1k.html")
        config = page.locator("#config details")
        config.locator("summary").click()
        config.get_by_label("Filter the table").fill("training.learning_rate")
        expect(config.locator("tbody tr:not([hidden]) th")).to_have_text(["training.learning_rate"])

    def test_hundreds_of_experiments_are_filtered_and_sorted(self, report: Watched, tmp_path: Path) -> None:
        shutil.copytree(
            report.folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("answers", "figures")
        )
        page = (tmp_path / "index.html").read_text()
        row = page[page.index('<tr data-name="s1-1k"') :].partition("</tr>")[0] + "</tr>"
        names = [f"copy-{number}" for number in range(300)]
        rows = [row.replace('"s1-1k"', f'"{name}"').replace("s1, 1k", name) for name in names]
        (tmp_path / "index.html").write_text(page.replace("</tbody>", "".join(rows) + "</tbody>"))
        opened = watched(report.page, tmp_path).open("index.html")
        opened.get_by_label("Filter").fill("copy-")
        expect(opened.locator(ROWS)).to_have_count(300)
        opened.locator('th[data-key="name"] button').click()
        assert shown(opened) == names
        opened.locator('th[data-key="name"] button').click()
        assert shown(opened) == names[::-1]


class TestCompare:
    def test_it_shows_what_differs_and_the_sentences_and_numbers_of_the_data(self, report: Watched) -> None:
        page = report.open("compare.html#a=base&b=s1-1k")
        pair = data(report.folder, "pairs/base")["s1-1k"]
        page.locator(".conclusion").first.wait_for()
        sentences = page.locator(".conclusion").all_inner_texts()
        assert len(sentences) == len(pair["tests"]) > 0
        assert all(any(test["sentence"] in text for text in sentences) for test in pair["tests"].values())
        a, b = ({row[0]: row[1] for row in data(report.folder, f"config/{name}")} for name in ("base", "s1-1k"))
        differ = {path for path in a.keys() | b.keys() if a.get(path) != b.get(path)}
        settings = page.locator("section", has_text="Configuration").locator("tbody th").all_inner_texts()
        assert set(settings) == differ

    def test_where_the_report_has_no_tests_it_says_so_and_the_rest_is_there(
        self, report: Watched, tmp_path: Path
    ) -> None:
        (tmp_path / "data/pairs").mkdir(parents=True)
        for name in ("compare.html", "assets", "data/config"):
            (tmp_path / name).symlink_to(report.folder / name)
        reference = {"experiment": "s1-10k-thinking", "reason": "too many pairs"}
        index = data(report.folder, "index") | {"reference": reference}
        (tmp_path / "data/index.js").write_text(f'meds1Data("index",{json.dumps(index)});')
        (tmp_path / "data/pairs/base.js").write_text('meds1Data("pairs/base",{});')
        page = watched(report.page, tmp_path).open("compare.html#a=base&b=s1-1k")
        expect(page.locator(".note")).to_have_text(["too many pairs"])
        expect(page.locator(".not-ranked, .badge")).to_have_count(0)
        expect(page.locator("section", has_text="Metrics").locator(".measure").first).to_be_visible()
        expect(page.locator("section", has_text="Configuration").locator("tbody th").first).to_be_visible()

    def test_a_count_of_flips_leads_to_as_many_answers(self, report: Watched) -> None:
        page = report.open("compare.html#a=base&b=s1-1k")
        flips = page.locator('a[href*="show=wrong-to-right"]').first
        number = int(flips.inner_text())
        flips.click()
        page.wait_for_url("**/predictions.html*")
        page.locator(".detail article").wait_for()
        assert page.locator(".count").inner_text().startswith(f"{number} of ")
        assert page.locator(".answered .verdict").all_inner_texts() == ["✗ wrong", "✓ right"]

    def test_an_unknown_or_a_missing_name_is_said(self, report: Watched) -> None:
        page = report.open("compare.html#a=base&b=nobody")
        assert "no experiment nobody" in page.get_by_role("alert").inner_text()
        page = report.open("compare.html#a=base")
        assert "two different" in page.locator(".note").inner_text()

    def test_where_runs_are_not_ranked_no_value_is_marked_as_best(self, report: Watched) -> None:
        page = report.open("compare.html#a=s1-1k&b=limited")
        ranked = data(report.folder, "pairs/s1-1k")["limited"]["ranked"]
        page.locator(".not-ranked").first.wait_for()
        assert all(reason is not True for reason in ranked.values())
        assert page.locator(".best").count() == 0
        assert page.locator(".not-ranked").first.inner_text() == f"not ranked: {ranked[sorted(ranked)[0]]}"


class TestPredictions:
    def test_each_show_has_the_answers_that_the_data_counts(self, report: Watched) -> None:
        runs = {name: data(report.folder, f"runs/{name}")[MCQ] for name in ("base", "s1-1k")}
        right = {name: dict(zip(run["row"], run["correct"], strict=True)) for name, run in runs.items()}
        wanted = {
            "all": len(runs["s1-1k"]["row"]),
            "wrong": runs["s1-1k"]["correct"].count("0"),
            "unanswered": runs["s1-1k"]["extracted"].count(None),
            "right-to-wrong": sum(right["base"][row] > mark for row, mark in right["s1-1k"].items()),
            "flips": sum(right["base"][row] != mark for row, mark in right["s1-1k"].items()),
        }
        page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}&against=base")
        page.locator(".detail article").wait_for()
        for show, number in wanted.items():
            page.get_by_label("Show").select_option(show)
            expect(page.locator(".count")).to_have_text(f"{number} of {wanted['all']} answers")

    def test_markup_of_a_model_is_text(self, report: Watched) -> None:
        chunk = data(report.folder, f"answers/s1-1k/b{place(report.folder)}/0")
        for mark in ("<script>", "<img src=x", "<div><b>an unclosed"):
            item = next(number for number, said in enumerate(chunk) if mark in (said["thinking"] or ""))
            page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}&item={item}")
            thinking = page.locator(".part .text").first
            assert thinking.inner_text().strip() == chunk[item]["thinking"].strip()
            assert page.locator(".detail script, .detail img, .detail i, .detail textarea").count() == 0
        item = next(number for number, said in enumerate(chunk) if "\x07" in (said["thinking"] or ""))
        page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}&item={item}")
        page.locator(".detail article").wait_for()
        assert {"U+0007", "U+202E"} <= set(page.locator(".detail .hidden-character").all_inner_texts())

    def test_a_very_long_text_is_shown_in_two_steps(self, report: Watched) -> None:
        chunk = data(report.folder, f"answers/s1-1k/b{place(report.folder)}/0")
        texts = [max((said["thinking"] or "", said["answer"], said["output"] or ""), key=len) for said in chunk]
        item = max(range(len(texts)), key=lambda number: len(texts[number]))
        page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}&item={item}")
        page.locator(".more").first.click()
        assert page.locator(".detail").inner_text().count("and so on") >= texts[item].count("and so on")

    def test_a_run_without_predictions_says_why(self, report: Watched) -> None:
        why = next(run for run in data(report.folder, "index")["experiments"] if run["name"] == "deleted")
        alert = report.open("predictions.html#run=deleted").get_by_role("alert")
        expect(alert).to_have_text(f"No predictions of it in this report: {why['why_no_predictions']}")
        expect(report.page.get_by_label("Run")).to_have_value("deleted")

    def test_where_no_run_has_predictions_the_first_reasons_are_said(self, report: Watched, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        for name in ("predictions.html", "assets"):
            (tmp_path / name).symlink_to(report.folder / name)
        lacking = [{"name": f"e{i}", "predictions": False, "why_no_predictions": f"e{i}: none"} for i in range(70)]
        write(tmp_path, "index", data(report.folder, "index") | {"experiments": lacking})
        alert = watched(report.page, tmp_path).open("predictions.html").get_by_role("alert")
        reasons = "e0: none; e1: none; e2: none; and 67 more, whose pages say why."
        expect(alert).to_have_text(f"No experiment of this report has predictions: {reasons}")

    def test_the_keyboard_alone_is_enough(self, report: Watched) -> None:
        page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}")
        page.locator(".detail article").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("k")
        expect(page.locator(".detail h2")).to_have_text("Answer 2")
        assert page.locator('[role="option"][aria-selected="true"]').count() == 1
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        assert page.evaluate("document.activeElement.id") == "show"
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("<script>")
        expect(page.locator(".count")).to_have_text(f"1 of {QUESTIONS} answers")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.getAttribute('role')") == "listbox"
        assert "q=%3Cscript%3E" in page.url

    def test_budgets_of_thinking_are_one_choice(self, report: Watched) -> None:
        page = report.open("predictions.html#run=s1-10k-thinking")
        page.locator(".detail article").wait_for()
        budgets = page.get_by_label("Thinking budget").locator("option").all_inner_texts()
        assert len(budgets) > 1
        page.get_by_label("Thinking budget").select_option(label=budgets[0])
        expect(page.locator(".answered .facts")).to_contain_text(f"thinking budget{budgets[0].split()[0]}")
        expect(page).to_have_url(re.compile(f"budget={budgets[0].split()[0]}"))

    def test_thousands_of_items_are_browsed_with_few_of_them_in_the_page(
        self, browser: Browser, made_report: Path, tmp_path: Path
    ) -> None:
        folder = grown(made_report, tmp_path / "report")
        with browser.new_context() as context:
            report = watched(context.new_page(), folder)
            page = report.open(f"predictions.html#run=s1-1k&benchmark={MCQ}")
            page.locator(".detail article").wait_for()
            assert page.locator(".count").inner_text() == "8,000 of 8,000 answers"
            most = 0
            for key in ("End", "Home", "End"):
                page.keyboard.press(key)
                expect(page.locator("[aria-selected=true] .excerpt")).to_contain_text("?")
                most = max(most, page.locator("*").count())
            expect(page.locator(".detail h2")).to_have_text("Answer 8000")
            assert most < 1_500
            page.keyboard.press("/")
            page.keyboard.type("<script>")
            expect(page.locator(".count")).to_have_text(f"{REPEATED} of 8,000 answers")
            expect(page.locator("progress")).to_be_hidden()
            assert report.complaints == []


class TestEveryPage:
    def test_it_fits_a_narrow_screen_and_is_not_blank(self, report: Watched) -> None:
        report.page.set_viewport_size({"width": 400, "height": 800})
        comparison, experiments = "compare.html#a=base&b=s1-1k", [f"experiments/{name}.html" for name in RUNS]
        for address in ("index.html", comparison, "predictions.html", "figures.html", *experiments):
            page = report.open(address)
            expect(page.locator("#theme")).to_be_visible()
            expect(page.locator("main")).not_to_contain_text("Loading")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, address

    def test_the_names_of_the_leaderboard_stay_in_sight_beside_its_scores(self, report: Watched) -> None:
        report.page.set_viewport_size({"width": 400, "height": 800})
        page = report.open("index.html")
        scroll = page.locator(".scroll:has(> #leaderboard)")
        moved = scroll.evaluate("place => { place.scrollLeft = 300; return place.scrollLeft; }")
        frame = scroll.bounding_box()
        assert moved > 200
        assert frame is not None
        for name in ('thead th[data-key="name"]', "tbody tr:first-child th"):
            box = page.locator(f"#leaderboard {name}").bounding_box()
            assert box is not None
            assert 0 <= box["x"] - frame["x"] < 3
            assert box["width"] < 0.5 * frame["width"]  # the rest is for the scores

    def test_the_leaderboard_is_printed_whole_on_pages_that_lie(self, report: Watched) -> None:
        page = report.open("index.html")
        boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.pdf())
        page.set_viewport_size({"width": 1047, "height": 718})  # A4 without its margins
        page.emulate_media(media="print")
        ends = page.locator("#leaderboard :is(th, td)").evaluate_all(
            "all => all.map(x => x.getBoundingClientRect().right)"
        )
        assert boxes
        assert all(float(width) > float(height) for width, height in boxes)
        assert max(ends) <= 1047

    def test_the_keyboard_reaches_what_scrolls_and_stops_at_nothing_else(self, report: Watched) -> None:
        report.page.set_viewport_size({"width": 400, "height": 800})
        for address in ("index.html", "compare.html#a=base&b=s1-1k", "experiments/s1-1k.html"):
            page = report.open(address)
            page.locator(".scroll").first.wait_for()
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            scrolling, reached = page.locator(".scroll, pre.log").evaluate_all(SCROLLING)
            assert scrolling == reached != [], address

    def test_a_name_of_the_greatest_length_leaves_room_for_the_scores(self, report: Watched, tmp_path: Path) -> None:
        shutil.copytree(report.folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("answers"))
        page = (tmp_path / "index.html").read_text()
        (tmp_path / "index.html").write_text(page.replace(">s1-1k</code>", f">{'m' * 128}</code>"))
        opened = watched(report.page, tmp_path).open("index.html")
        cell = opened.locator('tr[data-name="s1-1k"] th')
        assert "m" * 128 in cell.inner_text()
        assert cell.evaluate("cell => cell.offsetWidth") < 1280 / 2

    def test_dark_follows_the_system_until_the_reader_chooses_which_is_remembered(
        self, browser: Browser, made_report: Path
    ) -> None:
        with browser.new_context(color_scheme="dark") as context:
            report = watched(context.new_page(), made_report)
            page = report.open("index.html")
            dark = page.evaluate(BACKGROUND)
            page.locator("#theme").click()
            light = page.evaluate(BACKGROUND)
            page = report.open("compare.html")
            assert (dark, light, page.evaluate(BACKGROUND)) == ("rgb(14, 18, 23)", "rgb(245, 246, 248)", light)
            assert report.complaints == []

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_stands_out_from_its_ground_as_wcag_aa_asks(self, report: Watched, theme: str) -> None:
        page = report.open("index.html")
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        grounds = {"right": ["card", "right-ground"], "wrong": ["card", "raised", "warning-ground"]}
        for ink in ("text", "faded", "link"):
            grounds[ink] = ["page", "card", "raised"]
        grounds["text"] += ["chosen", "right-ground", "warning-ground"]
        for ink, behind in grounds.items():
            for ground in behind:
                light, dark = sorted((luminance(page, ink), luminance(page, ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)

    def test_a_data_file_that_is_missing_is_named(self, browser: Browser, made_report: Path, tmp_path: Path) -> None:
        folder = tmp_path / "report"
        shutil.copytree(made_report, folder)
        cases = {
            f"data/answers/s1-1k/b{place(folder)}/0.js": f"predictions.html#run=s1-1k&benchmark={MCQ}",
            "data/runs/s1-1k.js": "predictions.html#run=s1-1k",
            "data/pairs/base.js": "compare.html#a=base&b=s1-1k",
            "data/index.js": "predictions.html",
        }
        with browser.new_context() as context:
            report = watched(context.new_page(), folder)
            for gone, address in cases.items():
                (folder / gone).unlink()
                alert = report.open(address).get_by_role("alert")
                expect(alert).to_have_text(re.compile(f"{re.escape(gone)} cannot be read; .* make it anew"))
