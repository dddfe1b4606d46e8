"""Measurements of what the project promises; each package below prints the figures of one room."""
