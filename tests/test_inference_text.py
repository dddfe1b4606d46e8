"""Prompts and chat formats: what is written for training is read back from a generation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inference.formats import FORMATS, ChatFormat
from inference.prompts import INSTRUCTIONS, user_message
from registry.fields import FormatName
from registry.schema import PromptStyle

OPTIONS = (("A", "Aspirin"), ("B", "β-blocker"))
MARKED = [chat_format for chat_format in FORMATS.values() if chat_format.opening]


def test_formats_and_styles_are_those_of_the_schema() -> None:
    assert set(FORMATS) == set(get_args(FormatName))
    assert all(chat_format.name == name for name, chat_format in FORMATS.items())
    assert set(INSTRUCTIONS) == set(get_args(PromptStyle))


def test_plain_prompt_is_question_and_options_alone() -> None:
    assert user_message(" Which one? \n", OPTIONS, "plain") == "Which one?\n\nA. Aspirin\nB. β-blocker"
    assert user_message("Which one?", (), "plain") == "Which one?"


@pytest.mark.parametrize("options", [OPTIONS, ()])
@pytest.mark.parametrize("style", ["strict", "step"])
def test_other_styles_add_one_instruction_to_the_plain_prompt(
    style: PromptStyle, options: tuple[tuple[str, str], ...]
) -> None:
    plain = user_message("Which one?", options, "plain")
    prompt = user_message("Which one?", options, style)
    instruction = prompt.removeprefix(plain + "\n\n")
    assert prompt == f"{plain}\n\n{instruction}"
    assert "The answer is" in instruction
    assert ("step by step" in instruction) == (style == "step")
    assert ("letter" in instruction) == bool(options)


def test_completions_are_laid_out_as_each_family_writes_them() -> None:
    assert FORMATS["huatuo"].completion("r", "a") == "## Thinking\n\nr\n\n## Final Response\n\na"
    assert FORMATS["qwen"].completion("r", "a") == "<think>\nr\n</think>\n\na"
    assert FORMATS["nemotron"].completion("r", "a") == "<think>\nr\n</think>\n\na"
    assert FORMATS["plain"].completion("r", "a") == "r\n\na"
    assert {name: f.system for name, f in FORMATS.items() if f.system} == {"nemotron": "detailed thinking on"}


@pytest.mark.parametrize("chat_format", MARKED, ids=lambda f: f.name)
@given(reasoning=st.text(), answer=st.text())
def test_split_reads_what_completion_wrote(chat_format: ChatFormat, reasoning: str, answer: str) -> None:
    marks = (chat_format.opening.strip(), chat_format.closing.strip())
    assume(not any(mark in part for mark in marks for part in (reasoning, answer)))
    thinking_and_answer = chat_format.split(chat_format.completion(reasoning, answer))
    assert thinking_and_answer == (reasoning.strip(), answer.strip())


@pytest.mark.parametrize("chat_format", MARKED, ids=lambda f: f.name)
def test_split_of_turns_that_were_not_finished_or_not_asked_for(chat_format: ChatFormat) -> None:
    opening, closing = chat_format.opening, chat_format.closing
    assert chat_format.split(f"{opening}The answer is B, or is it") == ("The answer is B, or is it", "")
    assert chat_format.split(f"{opening}r{closing.rstrip()}") == ("r", "")
    # Some chat templates open the thinking in the prompt.
    assert chat_format.split(f"r{closing}a") == ("r", "a")
    assert chat_format.split(f"Well:\n{opening}r{closing}a") == ("r", "a")
    assert chat_format.split(f"{opening}r{closing}a{closing}b")[0] == "r"
    assert chat_format.split(" The answer is B.\n") == (None, "The answer is B.")
    assert chat_format.split("") == (None, "")


def test_a_format_without_marks_is_all_answer() -> None:
    assert FORMATS["plain"].split("r\n\na\n") == (None, "r\n\na")


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, inference.engine, inference.formats, inference.prompts, inference.progress, inference.samples, "
        "inference.budget, inference.journal, inference.vllm_engine, inference.transformers_engine\n"
        "heavy = {'torch', 'transformers', 'vllm', 'tokenizers', 'tqdm', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
