"""Registries of the original med-s1 project: what they contradict themselves in, and how they come into one of ours."""
