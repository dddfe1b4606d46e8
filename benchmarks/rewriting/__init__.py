"""What model calls and rewritings promise, measured."""
