"""What curation promises: speed and memory, tokens at the tokenizer's own pace, draws true to their closed form."""
