"""`navigator-bench encoder`: how good encoders are on held-out items and boards, side by side and paired."""
