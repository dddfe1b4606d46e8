"""Pure functions on answers: what was answered, whether it is right, and how sure a figure is."""
