"""navigator-bench load: how an endpoint behaves as requests arrive faster, and when they arrive too fast."""
