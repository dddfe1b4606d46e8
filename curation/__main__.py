"""`python -m curation NAME`: the curation stage of one experiment here."""

from registry.main import stage_main

if __name__ == "__main__":
    stage_main("curation", "curation")
