"""How long 10,942 answers take to read and score, and what reading them in each resample would take.

The answers are invented: some 300 words of reasoning that weighs the options, then a statement in one of several forms.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.parts import Report, Say
from registry.console import Grid
from registry.errors import StageFailure
from scoring.accuracy import accuracy_of
from scoring.bootstrap import RESAMPLES
from scoring.extraction import extract_choice

LIMIT = 3.0
# Items of each, and how many of them are answered five times, so that every interval is a bootstrap: 8,262 items, 670
# of them five times, are 10,942 answers.
BENCHMARKS = {
    "medmcqa": (4_183, 200),
    "medqa": (1_273, 120),
    "pubmedqa": (1_000, 100),
    "mmlu": (1_136, 100),
    "gpqa": (670, 150),
}
RESCORED_ANSWERS, RESCORED_RESAMPLES = 200, 10

_TEXTS = (
    "aspirin",
    "heparin",
    "metformin",
    "lisinopril",
    "ceftriaxone",
    "prednisone",
    "levothyroxine",
    "acute interstitial nephritis",
    "increased serum ferritin",
    "left ventricular hypertrophy",
    "vitamin B12 deficiency",
    "hepatitis C infection",
    "type II pneumocytes",
    "loss of the C5 to C7 roots",
    "a defect in the 21-hydroxylase enzyme",
    "congestive heart failure",
    "obstruction of the common bile duct",
    "X-linked recessive inheritance",
    "reassurance and follow-up in 6 weeks",
)
_SENTENCES = (
    "The patient is a 45-year-old man with chest pain that began two hours ago.",
    "On examination there is a soft murmur, and the lungs are clear.",
    "This points to a disorder that develops over weeks rather than hours.",
    "A normal troponin does not exclude it.",
    "Laboratory values show a sodium of 128 mmol/L and a raised creatinine.",
    "I should consider what is common before what is rare.",
    "The history of hepatitis B is a distraction here.",
    "In a patient of this age the risk of a second event is higher.",
    "Let me think about each of the options in turn.",
    "The mechanism involves the receptor of the distal tubule.",
)
_ENDINGS = (
    "The answer is {letter}. {text}",
    "Therefore, the correct answer is ({letter}) {text}.",
    "**Answer: {letter}**",
    "So I choose {letter} because it fits the findings best.",
    "\\boxed{{{letter}}}",
    "The most likely cause is {text}.",
    "I cannot tell which of these applies.",
)


@dataclass(frozen=True)
class Answer:
    """One invented answer to a question with options; `gold` is the right letter."""

    question: str
    options: tuple[tuple[str, str], ...]
    gold: str
    text: str


def measure_speed(full: bool, say: Say) -> Report:
    """Measure three times (full: seven) and take the fastest, in seconds of one core: what else runs only adds."""
    answers = {name: list(_answers(name, *size)) for name, size in BENCHMARKS.items()}
    count = sum(map(len, answers.values()))
    say(f"scoring {count:,} answers")
    extraction, intervals = min((_seconds_of(answers) for _ in range(7 if full else 3)), key=sum)
    seconds = extraction + intervals
    say("the same by extracting in each resample, on fewer")
    sample = answers["medqa"][:RESCORED_ANSWERS]
    started = time.process_time()
    _extract_in_each_resample(sample, RESCORED_RESAMPLES)
    scaled = (time.process_time() - started) / (len(sample) * RESCORED_RESAMPLES) * count * RESAMPLES
    verdict = "met" if seconds <= LIMIT else "NOT MET"
    rows = [
        ["extraction, scoring and intervals", f"{seconds:.2f}", f"{LIMIT:g}", verdict],
        ["of that, intervals", f"{intervals:.2f}", "", ""],
        ["extraction in each resample (scaled)", f"{scaled:,.0f}", "", ""],
    ]
    words = sum(len(answer.text.split()) for answer in answers["medqa"]) / len(answers["medqa"])
    return Report(
        data={"answers": count, "seconds": seconds, "extraction": extraction, "rescored_scaled": scaled},
        lines=(
            Grid((f"{count:,} answers, {words:.0f} words each", "core seconds", "limit", ""), rows, right=(1, 2)),
            f"{scaled / seconds:,.0f} times as fast as extracting in each of {RESAMPLES:,} resamples "
            f"(measured with {len(sample)} answers and {RESCORED_RESAMPLES} resamples)",
            "load " + ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        ),
    )


def _seconds_of(answers: dict[str, list[Answer]]) -> tuple[float, float]:
    """Extraction and intervals: each answer is read once, and its being right is what is resampled."""
    extraction, intervals = 0.0, 0.0
    for benchmark in answers.values():
        started = time.process_time()
        correct = [_is_right(answer) for answer in benchmark]
        read = time.process_time()
        accuracy = accuracy_of(correct, [answer.question for answer in benchmark])
        extraction, intervals = extraction + read - started, intervals + time.process_time() - read
        if accuracy.ci_method != "clustered_bootstrap":
            raise StageFailure("an interval without a bootstrap was measured: no question was answered differently")
    return extraction, intervals


def _extract_in_each_resample(answers: Sequence[Answer], resamples: int) -> list[float]:
    """The mean accuracy of resamples whose answers are read anew each time, question by question."""
    questions: defaultdict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        questions[answer.question].append(answer)
    draw = random.Random(0)
    means = []
    for _ in range(resamples):
        drawn = draw.choices(list(questions.values()), k=len(questions))
        means.append(sum(sum(map(_is_right, group)) / len(group) for group in drawn) / len(drawn))
    return means


def _is_right(answer: Answer) -> bool:
    return extract_choice(answer.text, answer.options).letter == answer.gold


def _answers(benchmark: str, items: int, repeated: int) -> Iterator[Answer]:
    draw = random.Random(benchmark)
    for item in range(items):
        texts = draw.sample(_TEXTS, 4)
        options = tuple(zip("ABCD", texts, strict=True))
        gold = draw.choice("ABCD")
        for _ in range(5 if item < repeated else 1):
            yield Answer(f"{benchmark}-{item}", options, gold, _text(draw, options, gold))


def _text(draw: random.Random, options: Sequence[tuple[str, str]], gold: str) -> str:
    sentences = [draw.choice(_SENTENCES) for _ in range(24)]
    sentences += [
        f"Option {letter}, {text}, would not explain all of it." for letter, text in options if letter != gold
    ]
    draw.shuffle(sentences)
    letter, text = draw.choice([option for option in options if option[0] == gold] * 3 + list(options))
    return " ".join(sentences) + "\n\n" + draw.choice(_ENDINGS).format(letter=letter, text=text)
