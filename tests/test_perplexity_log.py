"""What validation logs of the language: the held-out descriptions and plain text, with the model left as it was found."""

import math
from typing import Any

import pytest
import torch

from navigator.contracts import Catalog
from navigator.perplexity import score_descriptions
from navigator.prompts import held_out_for_language
from navigator.recommend import Recommender
from train.language import perplexities
from train.world import World


def world_of(project, dtype: str = "float32", texts: list[str] | None = None) -> World:
    recommender = Recommender.open(project / "swapped", project / "vectors", dtype=dtype)
    own = Catalog.open(project / "catalog").table("items", ["text"])["text"].to_pylist()
    return World(recommender, texts or own)


def test_held_out_descriptions_and_plain_text_are_logged_and_training_goes_on(project):
    world = world_of(project)
    model: Any = world.recommender.model.train()
    found = perplexities(world)
    assert list(found) == ["describe_perplexity", "plain_perplexity"] and model.training
    ids = world.recommender.vectors.ids
    rows = [i for i, out in enumerate(held_out_for_language(ids)) if out]
    model.eval()
    scores = score_descriptions(world.recommender, [world.texts[i] for i in rows], [ids[i] for i in rows], 3)
    assert found["describe_perplexity"] == pytest.approx(math.exp(scores.nats.sum() / scores.tokens.sum()), rel=1e-5)
    model.lm_head = torch.nn.Linear(32, 64, bias=False)
    torch.nn.init.zeros_(model.lm_head.weight)
    assert list(perplexities(world).values()) == pytest.approx([64, 64])
    inputs = world.recommender.processor(["red flag"])
    model.train()(**inputs).logits.sum().backward()  # nothing of the glance is left in the way of a step


def test_without_held_out_words_only_plain_text_is_logged(project):
    world = world_of(project, texts=["the same"] * 60)
    assert list(perplexities(world)) == ["plain_perplexity"]
    world = world_of(project, texts=[" "] * 60)
    assert list(perplexities(world)) == ["plain_perplexity"]
