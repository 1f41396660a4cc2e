"""What a machine does to whatever runs on it: gaps, late wake-ups, stolen time."""
