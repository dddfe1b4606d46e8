"""The names under which extraction says how it found an answer. They stand in every prediction: do not rename them."""

from __future__ import annotations

from typing import Literal

Method = Literal[
    # explicit statements; the last one of a text counts
    "answer_is",  # "the answer is B", "the most likely diagnosis is heparin"
    "answer_label",  # "Answer: B"
    "answer_heading",  # a line "Final answer", the option on the next one
    "other_language",  # the same in Chinese, Spanish, ...
    "choose",  # "I choose B"
    "therefore",  # "Therefore, B."
    "boxed",  # "\\boxed{B}"
    "json",  # {"answer": "B"}
    "verdict",  # "B is correct"
    "marker",  # what begins an <answer> tag or stands under "## Final Answer"
    # no statement, but the form of the text leaves one reading
    "lone_letter",  # a letter is the whole first or last line, or the last sentence
    "leading_letter",  # "B because ..."
    "option_text",  # a line is an option's text
    "leading_text",  # "Heparin, because ...", "Yes, it does"
    "labelled_line",  # one line "B. ..."
    "list",  # several letters or labels are the whole first or last line
    "only_letter",  # one option is named by letter and the sentence speaks for it
    "only_text",  # one option is named by text and the sentence speaks for it, all others are rejected
    "none",  # no answer
]
