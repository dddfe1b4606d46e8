"""Evaluation: medical question answering by a base model or by an experiment's trained model."""
