"""The assistant: a conversation becomes a search, what is found goes before the model, and the answer names nothing else."""
