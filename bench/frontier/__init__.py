"""Hosted models asked the bench's own queries, over any OpenAI-compatible endpoint: what they answer, take and cost."""
