"""Pages that people open: the report of a run, and runs beside each other."""
