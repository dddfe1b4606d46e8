"""Chat templates in the manner of the model families, cut down to what decides where an answer begins and ends."""

from __future__ import annotations

_TURN = "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"

CHATML = (
    "{% for message in messages %}" + _TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Headers, trimmed contents, and a system block that stands there even when nobody gave one.
LLAMA3 = (
    "<|begin|>{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "<|header|>system<|end_header|>\n\nCutting Knowledge Date: December 2023\n\n{{ system }}<|eot|>"
    "{% for message in messages %}"
    "<|header|>{{ message['role'] }}<|end_header|>\n\n{{ message['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header|>assistant<|end_header|>\n\n{% endif %}"
)

# The thinking of every assistant message is cut out; only "detailed thinking on" makes the model think.
NEMOTRON = (
    "{% for message in messages %}<|header|>{{ message['role'] }}<|end_header|>\n\n"
    "{% if message['role'] == 'assistant' %}{{ message['content'].split('</think>')[-1].lstrip() }}"
    "{% else %}{{ message['content'] | trim }}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header|>assistant<|end_header|>\n\n{% endif %}"
)

# An answer without thinking gets an empty one; thinking is laid out anew.
QWEN3 = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{% set content = message['content'] %}"
    "{% set thinking = '' %}{% if '</think>' in content %}"
    "{% set thinking = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>assistant\n<think>\n{{ thinking }}\n</think>\n\n{{ content }}<|im_end|>\n"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# The generation prompt opens the thinking, and the history is kept without any.
THINKING = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "<|im_start|>assistant\n{{ message['content'].split('</think>')[-1].lstrip('\n') }}<|im_end|>\n"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)

# No system role, and another name for the assistant.
GEMMA = (
    "<bos>{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "<start_of_turn>{{ role }}\n{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

# No generation prompt; the system prompt stands in the user's turn and a space before the answer.
MISTRAL = (
    "<s>{% set ns = namespace(system='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.system = message['content'] + '\n\n' %}"
    "{% elif message['role'] == 'user' %}[INST] {{ ns.system + message['content'] }} [/INST]"
    "{% else %} {{ message['content'] }}</s>{% endif %}{% endfor %}"
)

# Nothing is written for `add_generation_prompt`, though answers have a header.
HEADLESS = "{% for message in messages %}" + _TURN + "{% endfor %}"

TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "nemotron": NEMOTRON,
    "qwen3": QWEN3,
    "thinking": THINKING,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "headless": HEADLESS,
}
"""Each by its family."""

TURN_ENDS = {
    "chatml": "<|im_end|>\n",
    "llama3": "<|eot|>",
    "nemotron": "<|eot|>",
    "qwen3": "<|im_end|>\n",
    "thinking": "<|im_end|>\n",
    "gemma": "<end_of_turn>\n",
    "mistral": "</s>",
    "headless": "<|im_end|>\n",
}
"""What the model is to write after its answer."""
