"""`navigator-bench latency`: one request, six ways to show the model its items, at the size of a published model."""
