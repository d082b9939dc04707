"""`navigator-bench cost`: what a request costs by component, from how many requests a day the swap pays, and why."""
