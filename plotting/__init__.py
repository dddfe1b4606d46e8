"""Tables and figures that compare experiments. Reads the registry only; needs no GPU, no model and no network."""
