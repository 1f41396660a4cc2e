"""What the machine under a load generator does to it: measured, judged, and kept with runs."""
