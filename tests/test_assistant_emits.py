"""A model that learned to emit `<|retrieve|>` decides when to search and with what; any other is left as it was."""

import numpy as np
import pytest
import torch

from navigator.assistant.assistant import Assistant, Retrieval
from navigator.assistant.conversation import ItemPart, Turn
from navigator.assistant.decide import Decider
from navigator.assistant.finding import BY_WORDS
from navigator.assistant.writing import NOTHING_SOUGHT
from navigator.contracts import UserError
from navigator.contracts.vectors import as_stored, normalise
from navigator.emission import add_emission, retrieve_log_odds
from navigator.prompts import RETRIEVE_TOKEN
from pipeline_worlds import fresh


@pytest.fixture
def assistant(refined, project) -> Assistant:
    """Heads at random, as if trained; every text lies on the same vector."""
    pipeline = fresh(refined, project, head=True)
    text = normalise(np.arange(1.0, pipeline.store.content_dim + 1))
    pipeline.recommender.text_vectors = lambda texts: as_stored(
        np.stack([text] * len(texts)), pipeline.store.content_dim, pipeline.store.dim
    )
    add_emission(pipeline.recommender.model)
    pictures = normalise(np.arange(6.0, 0, -1))
    return Assistant(pipeline, lambda given: np.stack([pictures] * len(given)))


def like(item: str) -> Turn:
    return Turn("user", ("like this", ItemPart(item)))


def read(assistant: Assistant, said: list[tuple[str, str]], vectors: np.ndarray, more: str = ""):
    """Model inputs of a conversation, ITEM where an item is."""
    processor = assistant.processor
    messages = [{"role": "system", "content": NOTHING_SOUGHT}]
    messages += [{"role": role, "content": words.replace("ITEM", processor.item_token)} for role, words in said]
    return processor(processor.apply_chat_template(messages, add_generation_prompt=True) + more, vectors)


def retrieved(assistant: Assistant, said, vectors, items: list[int], words: str) -> np.ndarray:
    recommender = assistant.pipeline.recommender
    start = recommender.starts([items], [words])
    with torch.no_grad():
        return recommender.model.retrieve(start, **read(assistant, said, vectors, RETRIEVE_TOKEN))[0].numpy()


def teach(assistant: Assistant, wanted: str, idle: str) -> None:
    """Log odds 4 where an item like `wanted` is asked for, -4 at `idle`, threshold between them at a probability of 0.9."""
    model, store = assistant.pipeline.recommender.model, assistant.store
    with torch.no_grad():
        ends = [
            model.read(**read(assistant, [("user", "like this ITEM")], store.float32(store.rows_of([item]))))[:, -1]
            for item in (wanted, idle)
        ]
        scaled = torch.cat([torch.nn.functional.normalize(end) * model.lm_head.in_features**0.5 for end in ends])
        gap = scaled[0] - scaled[1]
        weight = 8 * gap / gap.square().sum()
        before = retrieve_log_odds(model, torch.cat(ends))
        model.lm_head.emission.weight.copy_(weight[None])
        model.lm_head.emission.bias.fill_(float(-(scaled @ weight).mean() - before.mean() + np.log(9)))
    model.config.emits_retrieve, model.config.retrieve_threshold = True, 0.9
    assistant.decider = Decider(assistant.pipeline.recommender)


def asks_of(assistant: Assistant, monkeypatch) -> list:
    """What its pipelines are asked, with the weight that the model's query has there."""
    asked = []
    for name in ("_by_words", "_by_query", "_by_items"):
        own = getattr(assistant.finder, name)

        def answer(asks, own=own, before=own.answer):
            asked.extend((ask, own.options.weights["model"]) for ask in asks)
            return before(asks)

        monkeypatch.setattr(own, "answer", answer)
    return asked


@pytest.mark.parametrize("wanted, idle", [(4, 7), (7, 4)])
def test_the_model_decides_by_its_log_odds_and_sees_the_items(assistant, wanted, idle):
    """Both turns have the same words: only who reads the items can tell them apart."""
    wanted, idle = assistant.store.ids[wanted], assistant.store.ids[idle]
    assert assistant.plan([like(wanted)]).retrieved and assistant.plan([like(idle)]).retrieved  # by the rule
    teach(assistant, wanted, idle)
    assert assistant.plan([like(wanted)]).retrieved
    assert not assistant.plan([like(idle)]).retrieved
    assert assistant.plan([like(idle)], Retrieval(mode="always")).retrieved
    assert not assistant.plan([like(wanted)], Retrieval(mode="never")).retrieved
    assistant.pipeline.recommender.model.config.retrieve_threshold = 1 - 1e-6
    assert not assistant.plan([like(wanted)]).retrieved


def test_it_searches_with_the_vector_at_the_token_in_that_chat(assistant, monkeypatch):
    ids, store = assistant.store.ids, assistant.store
    teach(assistant, ids[4], ids[7])
    asked = asks_of(assistant, monkeypatch)
    assert assistant.plan([like(ids[4])]).retrieved
    (ask, weight), seen = asked.pop(), store.float32(np.array([4]))
    by_hand = retrieved(assistant, [("user", "like this ITEM")], seen, [4], "like this")
    np.testing.assert_allclose(ask.query, by_hand, atol=1e-5)
    assert weight == 1.0
    told = assistant.pipeline.recommender.query_vectors([[4]], ["like this"])[0]
    assert np.abs(by_hand - told).max() > 0.01  # not what a compact request gives

    shown = Turn("assistant", ("I found [1] red.", ItemPart(ids[9])))
    turns = [Turn("user", ("old",)), Turn("assistant", ("yes",)), like(ids[4]), shown, Turn("user", ("a flag", b"p"))]
    assistant.plan(turns, Retrieval(mode="always"))
    said = [("user", "like this ITEM"), ("assistant", "I found [1] red."), ("user", "a flag ITEM")]
    picture = as_stored(normalise(np.arange(6.0, 0, -1))[None], store.content_dim, store.dim)
    by_hand = retrieved(assistant, said, np.concatenate([seen, picture]), [4], "a flag")
    np.testing.assert_allclose(asked[-1][0].query, by_hand, atol=1e-5)


def test_words_alone_are_searched_with_the_query_beside_the_other_sources(assistant, monkeypatch):
    teach(assistant, assistant.store.ids[4], assistant.store.ids[7])
    asked = asks_of(assistant, monkeypatch)
    assistant.plan([Turn("user", ("a flag",))], Retrieval(mode="always"))
    ask, weight = asked.pop()
    np.testing.assert_allclose(
        ask.query, retrieved(assistant, [("user", "a flag")], np.zeros((0, 8)), [], "a flag"), atol=1e-5
    )
    answer = assistant.finder._by_query.answer([ask])[0]
    nearest = assistant.store.float32() @ ask.query
    first = assistant.store.ids[int(nearest.argmax())]
    places = {result.item: result.sources for result in answer.results}
    assert weight == 1.0 and places[first]["model"] == 1
    assert {name for sources in places.values() for name in sources} == {"model", "text"}


def test_a_model_without_the_flag_is_untouched(assistant, monkeypatch):
    asked = asks_of(assistant, monkeypatch)
    monkeypatch.setattr(assistant.pipeline.recommender.model, "read", None)  # words alone ask no network
    assert assistant.plan([Turn("user", ("a flag",))]).retrieved
    assert not assistant.plan([Turn("user", ("thanks",))]).retrieved
    ((ask, weight),) = asked
    assert ask.query is None and weight == 0.0
    assert assistant.finder._by_words.options == BY_WORDS


def test_a_model_that_says_it_emits_but_not_from_where_on_is_not_opened(assistant):
    assistant.pipeline.recommender.model.config.emits_retrieve = True
    with pytest.raises(UserError, match="retrieve_threshold"):
        Decider(assistant.pipeline.recommender)
