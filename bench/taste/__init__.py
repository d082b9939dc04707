"""`navigator-bench taste`: recommenders on one split of a taste graph, every rival tuned on validation by the same bench."""
