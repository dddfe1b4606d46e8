"""The training stage: supervised fine-tuning on one or many processes with TRL, accelerate and FSDP2."""
