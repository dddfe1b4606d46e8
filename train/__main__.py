"""`python -m train NAME`: the training stage of one experiment here."""

from registry.main import stage_main

if __name__ == "__main__":
    stage_main("training", "train")
