"""`navigator-bench language`: whether post-training kept the language, on held-out descriptions and on plain text."""
