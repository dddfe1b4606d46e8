"""What a training needs is looked for before any process of it starts: one clear line, and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.chat_template import render, template_of
from inference.trainable import check_trainable
from registry.errors import EXIT_USAGE, Meds1Error, MissingError, UsageError
from registry.job import claim
from registry.plan import Wish, plan
from tests.lab import Lab, make_lab
from tests.tiny import change_json, make_tiny_model
from tests.training_case import make_case
from train.stage import run

Breakage = Callable[[Path], object]


def add_token(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(model)


def template(text: str) -> Breakage:
    return lambda model: (model / "chat_template.jinja").write_text(text)


def leave_adapters(model: Path) -> None:
    (model / "model.safetensors").rename(model / "adapter_model.safetensors")
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "some/model"}')


def split_and_lose(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


USERS_ONLY = "{% for message in messages if message.role == 'user' %}{{ message.content }}{% endfor %}"
REFUSING = "{% if messages[0].role != 'system' %}{{ raise_exception('a system\nprompt first') }}{% endif %}"
BROKEN: list[tuple[str, Breakage, type[Meds1Error], str]] = [
    ("no folder", shutil.rmtree, MissingError, "holds no model (no config.json)"),
    ("no config", lambda m: (m / "config.json").unlink(), MissingError, "holds no model (no config.json)"),
    ("torn config", lambda m: (m / "config.json").write_text("{"), MissingError, "cannot be read as JSON"),
    ("no weights", lambda m: (m / "model.safetensors").unlink(), MissingError, "holds no weights"),
    ("cut weights", lambda m: os.truncate(m / "model.safetensors", 50_000), MissingError, "its header names"),
    ("cut header", lambda m: os.truncate(m / "model.safetensors", 20), MissingError, "is cut off"),
    ("a lost part", split_and_lose, MissingError, "1 of its 2 weight files are not here"),
    ("adapters", leave_adapters, MissingError, "holds adapters, and no model to tune"),
    ("no tokenizer", lambda m: (m / "tokenizer.json").unlink(), MissingError, "holds no tokenizer"),
    ("torn tokenizer", lambda m: (m / "tokenizer.json").write_text("{"), MissingError, "cannot be read as a JSON"),
    ("odd tokenizer", lambda m: (m / "tokenizer.json").write_text('{"model": 3}'), MissingError, "is no tokenizer"),
    ("no template", lambda m: (m / "chat_template.jinja").unlink(), UsageError, "no chat template"),
    ("no assistant turn", template(USERS_ONLY), UsageError, "writes nothing of what the assistant says"),
    ("no end of the turn", template("{{ messages[1].content }}"), UsageError, "does not end the assistant's turn"),
    ("a template that refuses", template(REFUSING), UsageError, "a system prompt first"),
    ("a template with a fault", template("{% for %}"), UsageError, "the chat template fails"),
    ("a token too many", add_token, UsageError, "has tokens up to number 375, and the model knows only 375"),
    ("other weights", lambda m: change_json(m / "config.json", vocab_size=900), MissingError, "it knows (375, 900)"),
    ("few positions", lambda m: change_json(m / "config.json", max_position_embeddings=64), UsageError, "64 positions"),
]
IDS = [case[0] for case in BROKEN]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be trained."""
    return make_tiny_model(tmp_path_factory.mktemp("whole") / "model")


@pytest.mark.parametrize(("breakage", "error", "words"), [case[1:] for case in BROKEN], ids=IDS)
def test_a_model_that_cannot_be_trained_is_one_clear_line(
    whole: Path, tmp_path: Path, breakage: Breakage, error: type[Meds1Error], words: str
) -> None:
    model = shutil.copytree(whole, tmp_path / "model")
    breakage(model)
    with pytest.raises(error) as caught:
        check_trainable(model, 256)
    message = str(caught.value)
    assert words in message
    assert str(model) in message
    assert "\n" not in message


def test_the_stage_names_the_experiment_before_its_processes_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(tmp_path)
    template(USERS_ONLY)(Path(str(case.config.model.file_path)))
    monkeypatch.setenv("WORLD_SIZE", "2")  # nobody is there to join
    with pytest.raises(UsageError, match=r"^tiny: .*/model: the chat template writes nothing of what the assistant"):
        run(case.context(rank=0, world_size=2))
    shutil.rmtree(str(case.config.model.file_path))
    with pytest.raises(MissingError, match=r"^tiny: there is no .*/model; correct file_path"):
        run(case.context(rank=0, world_size=2))


def test_curated_rows_that_are_gone_or_torn_are_missing(tmp_path: Path) -> None:
    case = make_case(tmp_path)
    (case.dataset / "dataset_dict.json").unlink()
    with pytest.raises(MissingError, match=r"tiny: .*formatted holds no curated rows .* --force"):
        run(case.context())
    shutil.rmtree(case.dataset)
    with pytest.raises(MissingError, match=r"tiny: the curation result names dataset_path .* is not here"):
        run(case.context())


def test_a_whole_model_passes_also_in_parts_and_with_padded_embeddings(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path / "tiny"))
    model.resize_token_embeddings(512)
    parts = make_tiny_model(tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    model.save_pretrained(parts, max_shard_size="100KB")
    assert len(list(parts.glob("*.safetensors"))) > 1
    check_trainable(parts, 512)


@pytest.mark.parametrize("end", ["{{ eos_token }}", "<|im_end|>\n"])
def test_a_turn_ends_with_the_tokenizers_token_or_the_templates(whole: Path, tmp_path: Path, end: str) -> None:
    model = shutil.copytree(whole, tmp_path / "model")
    template("{% for m in messages %}{{ m.content }}" + end + "{% endfor %}")(model)
    check_trainable(model, 256)
    (model / "tokenizer_config.json").unlink()
    check_trainable(model, 256)


@pytest.mark.parametrize("thinking", ["{% generation %}", "{%- generation -%}"])
def test_a_template_says_here_what_it_says_in_transformers(tmp_path: Path, thinking: str) -> None:
    from transformers import AutoTokenizer

    model = make_tiny_model(tmp_path / "tiny")
    template(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}"
        f"{thinking}{{{{ m | tojson }}}} {{% endgeneration %}}{{% endfor %}}{{{{ eos_token }}}}"
        "{{ strftime_now('%Y') }}"
    )(model)
    messages = [{"role": "user", "content": "Grüße <b>"}, {"role": "tool", "content": "x"}]
    found = template_of(model)
    assert found is not None
    expected = AutoTokenizer.from_pretrained(model).apply_chat_template(messages, tokenize=False)
    assert render(model, found, messages).split() == str(expected).split()


def test_the_default_one_of_several_templates_is_taken(tmp_path: Path) -> None:
    templates = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert template_of(tmp_path) == "plain"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose model writes no assistant turn."""
    made = make_lab(tmp_path_factory.mktemp("lab"))
    template(USERS_ONLY)(made.folder / "model")
    return made


@pytest.mark.parametrize("command", ["run first", "submit first --cluster local"])
def test_no_job_of_a_model_that_cannot_be_trained_is_started(lab: Lab, command: str) -> None:
    done = lab.meds1(*command.split(), code=EXIT_USAGE)
    assert done.stderr.splitlines()[-1].startswith(f"meds1 {command.split()[0]}: first: ")
    assert "writes nothing of what the assistant says" in done.stderr
    assert done.stderr.count("assistant") == 1
    assert "Traceback" not in done.stderr
    assert not lab.registry.read().state.headers("first", "curation")


def test_what_is_only_evaluated_needs_no_assistant_turn(lab: Lab) -> None:
    lab.meds1("submit", "base", "--dry-run")
    shown = lab.meds1("submit", "first", "--cluster", "local", "--dry-run")
    assert "warning: would be refused: first: " in shown.stderr


def test_of_several_processes_one_says_what_is_wrong(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.meds1("run", "first", "--stage", "curation")
    for name in ("CACHE_DIR", "MED_S1K_OUTPUT"):
        monkeypatch.setenv(name, lab.environment[name])
    registry = lab.registry
    (step,) = plan(registry, registry.read(), "first", Wish(("training",)))
    job = claim(registry, step)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = lab.run([sys.executable, *torchrun, "-m", "train", "--job", str(job.file)], code=None)
    assert f"exitcode  : {EXIT_USAGE}" in done.stderr
    assert done.stderr.count("writes nothing of what the assistant says") == 1
    assert lab.results("first")["training"]["error"].startswith("first: ")
