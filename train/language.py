"""Does the language survive? Perplexities that validation logs beside NDCG; they choose no weights.

A glance at each validation; `navigator-bench language` is the measurement, with intervals and controls.
"""

import numpy as np

from navigator.perplexity import score_descriptions, score_plain
from navigator.plain_text import plain_paragraphs
from train.world import World

DESCRIPTIONS, PARAGRAPHS = 32, 8


def perplexities(world: World) -> dict[str, float]:
    """``describe_perplexity`` of items that describe never shows (absent without any), and ``plain_perplexity``."""
    model, recommender = world.recommender.model, world.recommender
    held = set(range(len(world.texts))) - set(world.described.tolist())
    rows = [row for row in sorted(held) if world.texts[row].strip() and world.texts[row] not in world.twins]
    rows = [rows[i] for i in np.random.default_rng(18).permutation(len(rows))[:DESCRIPTIONS]]
    learning = model.training
    model.eval()
    plain = score_plain(model, recommender.processor.tokenizer, plain_paragraphs(PARAGRAPHS, 0), PARAGRAPHS)
    found = {"plain_perplexity": plain.perplexity}
    if rows:
        ids = [recommender.vectors.ids[row] for row in rows]
        described = score_descriptions(recommender, [world.texts[row] for row in rows], ids, DESCRIPTIONS)
        found = {"describe_perplexity": described.perplexity} | found
    model.train(learning)
    return found
