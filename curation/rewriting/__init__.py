"""Rewriting the reasoning of the chosen rows: styles, perturbations and their restoration."""
