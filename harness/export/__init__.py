"""A stored run as tables for other programs: CSV, JSON lines, Parquet."""
