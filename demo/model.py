"""The demo's base model: a byte-level BPE tokenizer and a Llama of about half a million parameters.

It is pre-trained with TRL, in the chat format, until it answers direct questions about a third of the drugs. On the
vignette phrasing of the same questions it has only learned to guess, so every fact that a difficulty filter removes
with the direct question is still asked for by a vignette that the filter keeps.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.rows import DIRECT, LETTERS, VIGNETTE, Question, ask, open_option_sets, reason, training_rows
from demo.world import Drug, World
from inference.prompts import user_message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
MAX_LENGTH = 512
GUESSES = 12  # vignettes per known drug in the lessons: few, since they teach the base model to guess
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' -%}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{%- else -%}"
    "{{ message['content'] + '<|im_end|>' }}"
    "{%- endif -%}"
    "{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Pretraining:
    """How the base model is taught.

    It learns to copy the options, and so to answer, between step 120 and 240. With the usual `initializer_range` of
    0.02, meant for wide layers, some seeds had not learned it after 500 steps.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 3e-3
    warmup_steps: int = 20
    hidden_size: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 1024
    initializer_range: float = 0.06


def make_model(world: World, seed: int, folder: Path, pretraining: Pretraining) -> None:
    """Write tokenizer and pre-trained weights (safetensors) into `folder`.

    The same arguments give the same bytes on one machine with one number of threads; float sums differ elsewhere.
    """
    from datasets import Dataset, disable_progress_bars
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    lessons = Dataset.from_list(list(_lessons(world, seed)))
    tokenizer = _tokenizer(world, seed, pretraining.vocabulary)
    set_seed(seed)
    model = _untrained(tokenizer, pretraining)
    with tempfile.TemporaryDirectory() as scratch:
        settings = SFTConfig(
            output_dir=scratch,
            max_steps=pretraining.steps,
            per_device_train_batch_size=pretraining.batch_size,
            learning_rate=pretraining.learning_rate,
            warmup_steps=pretraining.warmup_steps,
            lr_scheduler_type="cosine",
            adam_beta2=0.98,
            max_length=MAX_LENGTH,
            seed=seed,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
        )
        SFTTrainer(model, settings, train_dataset=lessons, processing_class=tokenizer).train()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _lessons(world: World, seed: int) -> Iterator[dict[str, Any]]:
    """Prompt and completion of everything that the base model is taught."""
    rng = random.Random(f"lessons-{seed}")
    for drug in world.drugs:
        if not drug.known:
            continue
        for options in open_option_sets(world, drug, DIRECT):
            question = ask(drug, DIRECT, options, rng)
            yield _lesson(question, reason(question, drug.drug_class, drug.effect, rng), drug.effect)
        for options in open_option_sets(world, drug, VIGNETTE)[:GUESSES]:
            yield _guess(drug, options, rng)


def _guess(drug: Drug, options: frozenset[str], rng: random.Random) -> dict[str, Any]:
    question = ask(drug, VIGNETTE, options, rng)
    return _lesson(question, "I can only guess.", rng.choice(question.options))


def _lesson(question: Question, reasoning: str, effect: str) -> dict[str, Any]:
    prompt = user_message(question.text, list(zip(LETTERS, question.options, strict=True)), "plain")
    answer = f"{reasoning}\n\nThe answer is {question.letter_of(effect)}. {effect}"
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def _tokenizer(world: World, seed: int, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the training rows: each name of the world becomes one or a few tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, START, END], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_corpus(world, seed), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, padding_side="left", model_max_length=MAX_LENGTH
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _corpus(world: World, seed: int) -> Iterator[str]:
    for row in training_rows(world, seed):
        listed = "\n".join(f"{letter}. {text}" for letter, text in row.options.items())
        yield f"user\n{row.question or ''}\n\n{listed}\n"
        yield f"assistant\n## Thinking\n\n{row.reasoning or ''}\n\n## Final Response\n\nThe answer is {row.answer_idx}."
        yield f"I can only guess.\n\n{row.answer}"


def _untrained(tokenizer: PreTrainedTokenizerFast, pretraining: Pretraining) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=pretraining.hidden_size,
            intermediate_size=3 * pretraining.hidden_size,
            num_hidden_layers=pretraining.layers,
            num_attention_heads=pretraining.heads,
            num_key_value_heads=pretraining.heads,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            initializer_range=pretraining.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
