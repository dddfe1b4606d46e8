"""Batch jobs: submit one experiment or many, ask the queue, run a stage's processes."""
