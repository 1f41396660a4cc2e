"""What is measured: one case a file, each ``run(suite)``."""
