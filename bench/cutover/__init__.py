"""`navigator-bench cutover`: requests to a running server while releases are promoted and rolled back under it."""
