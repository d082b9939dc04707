"""Systems side by side: quality with intervals, latency, memory and cost, from raw rows."""
