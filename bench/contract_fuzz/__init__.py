"""What fuzz contracts draws from a seed: sources, arguments and mutants; and what it holds them to."""
