"""Runs beside each other: groups, figures with intervals, verdicts."""
