"""The load: worker processes, and the coordinator that starts, drains and watches them."""
