"""`python -m eval NAME`: the eval stage of one experiment here."""

from registry.main import stage_main

if __name__ == "__main__":
    stage_main("eval", "eval")
