"""Navigator: a vision-language model with its own eyes and its own taste."""
