"""What the registry promises, measured: nothing lost in a storm of kills, and speed with many experiments."""
