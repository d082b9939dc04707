"""`navigator-bench graph`: how well the taste graph predicts saves, and how it grows."""
