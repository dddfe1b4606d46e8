"""Curation: choose and lay out the reasoning traces that an experiment is trained on."""
