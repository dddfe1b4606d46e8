"""How long a whole sweep takes to submit to a real Slurm, and to look at."""
