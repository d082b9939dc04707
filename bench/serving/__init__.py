"""A server under load by wrk, a generator that is not ours: throughput and waiting against clients, batched and not."""
