"""The GPUs behind a run's servers: what they are, how they were set, and what they used."""
