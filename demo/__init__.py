"""The demo: a small invented pharmacology, a tiny model that half knows it, and the stages run on both."""
