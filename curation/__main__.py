"""`python -m curation NAME`: the curation stage of one experiment here, or with --preview rows of what it made."""

from curation.preview import preview
from registry.main import stage_main

if __name__ == "__main__":
    stage_main("curation", "curation", preview)
