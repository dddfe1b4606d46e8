"""What rewriting promises, measured."""
