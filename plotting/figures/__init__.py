"""Figures that compare experiments, a module for each kind; `kinds` has the list."""
