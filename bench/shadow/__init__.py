"""`navigator-bench shadow`: the same traffic through an old and a new encoder or model, and whether to cut over."""
