"""What is asked about a server outside the load, and the one request a run sends."""
