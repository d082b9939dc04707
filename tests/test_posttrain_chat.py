"""The chat task: what its conversations say and ask, how rows are written, and its loss and its own answers by plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graph.crossfit import fold_of
from navigator.assistant.conversation import ItemPart, Turn
from navigator.assistant.writing import NOTHING_SOUGHT, content
from navigator.emission import add_emission
from tasks_worlds import BOARDS, CONFIG, DIM, FOLDS, SHAPE, make_world, told
from train.chat import PARTS, SHARES, TALKS, ChatExample, draw_chat, draw_searches, talk_pool, title_of, turns, wish_of
from train.chat_step import ANSWER, TURNS, chat_inputs, prompt_ids, self_answered, shown_items
from train.items import SERVED
from train.objective import Objective, StepBatch
from train.tasks import check_tasks
from train.world import World


@pytest.fixture(scope="module")
def chat_world(stock, task_store) -> World:
    """Everything that starts at zero has another value, the emission too."""
    world = make_world(stock, task_store, trained=True)
    add_emission(world.recommender.model)
    torch.nn.init.normal_(world.recommender.model.lm_head.emission.weight, std=0.2)
    return world


def searches(world: World, count: int = 200, fold: int = -1) -> list[ChatExample]:
    return draw_searches(world, "train", count, np.random.default_rng(4), CONFIG.shape, fold)


def test_every_part_has_every_kind_of_line_and_none_is_in_two():
    seen = [line.casefold() for part in PARTS for lines in turns(part).values() for line in lines]
    assert len(seen) == len({*seen})
    for part in PARTS:
        assert turns(part).keys() == {*SHARES, *TALKS}
        for kind in ("search", "like_words", "about_words"):
            assert all(line.count("{words}") == 1 for line in turns(part)[kind]), kind
        assert not [
            line for kind in ("like", "talk", "about_item", "after") for line in turns(part)[kind] if "{" in line
        ]


def test_a_wish_starts_from_the_last_turn_s_words_and_the_user_s_items():
    item, text = ({"type": "item", "item": 7}, {"type": "text", "text": "like this"})
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "red flag"}]},
        {"role": "assistant", "content": [{"type": "item", "item": 3}, {"type": "text", "text": "I found [1] x."}]},
        {"role": "user", "content": [item, text]},
    ]
    assert wish_of(talk) == ("like this", [7])
    assert wish_of(talk[:1]) == ("red flag", [])
    assert wish_of([talk[2], talk[1], talk[0]]) == ("red flag", [7])  # named before, still meant


def test_searches_ask_for_what_the_turn_does_not_show_and_talk_asks_for_nothing(chat_world):
    token, kinds = chat_world.recommender.processor.retrieve_token_id, set()
    spared = {int(i) for i in chat_world.spared}
    for example in searches(chat_world):
        assert example.answer == (token,)
        words, items = wish_of(example.messages)
        assert (example.words, example.history) == (words, tuple(items))
        if not example.asks:
            assert example.targets == () and len(example.messages) == 3  # "others, please", after a list
            kinds.add("bare")
            continue
        assert example.asks == (len(items),) and not {*example.targets} & {*items}
        assert {*example.targets, *items} <= {*example.positives}
        board = next((b for b in BOARDS if b.items == example.positives), None)
        if board is None:
            assert title_of(chat_world, example.targets[0]) in words and example.targets[0] not in spared
        elif items:
            assert set(items) <= set(board.items) and len(items) <= 3
        else:
            assert board.title in words
        kinds.add(("text" if board is None else "board", bool(items), len(example.messages)))
    assert kinds >= {"bare", ("text", False, 1), ("text", False, 3), ("board", False, 1), ("board", True, 1)}
    for example in talk_pool(chat_world, "train", 150, 0):
        assert (example.asks, example.targets, example.answer) == ((), (), ())


def test_one_fold_s_boards_are_never_asked_in_another_s_name(chat_world):
    for fold in range(FOLDS):
        own = {b.items for b in BOARDS if fold_of(b.owner, FOLDS) == fold}
        asked = {e.positives for e in searches(chat_world, fold=fold) if len(e.positives) > 2}
        assert asked == own


def test_a_drawn_batch_asks_one_fold_alone(chat_world):
    """Fold 0 holds one of the two titled boards, or both or none: whichever, a batch of the other fold has no wish of it."""
    pool = talk_pool(chat_world, "train", 2, 0)
    for fold in range(FOLDS):
        others = {b.items for b in BOARDS if fold_of(b.owner, FOLDS) != fold}
        drawn = [e for step in range(20) for e in draw_chat(chat_world, 8, 0, step, CONFIG.shape, fold, pool)]
        assert not others & {e.positives for e in drawn}


def test_held_out_lines_speak_of_items_that_training_never_shows(chat_world):
    spared = [title_of(chat_world, int(i)) for i in chat_world.spared]
    held = draw_searches(chat_world, "valid", 60, np.random.default_rng(0), SHAPE)
    by_text = [e for e in held if len(e.messages) == 1 and len(e.positives) == 1]
    assert by_text and all(any(title in e.words for title in spared) for e in by_text)


def test_a_batch_is_half_talk_and_depends_on_seed_and_step_alone(chat_world):
    pool = talk_pool(chat_world, "train", 10, 0)
    batch = draw_chat(chat_world, 9, 1, 5, SHAPE, -1, pool)
    assert [e in pool for e in batch] == [False] * 5 + [True] * 4
    np.random.seed(3)
    assert batch == draw_chat(chat_world, 9, 1, 5, SHAPE, -1, pool) != draw_chat(chat_world, 9, 1, 6, SHAPE, -1, pool)
    module = Objective(chat_world, replace(CONFIG, chat_steps=3))
    module.talks = pool
    drawn = [module.draw({"chat": 1.0}, 4, 1, step).examples for step in range(7)]
    assert drawn[:3] == drawn[3:6] and drawn[0] == drawn[6] != drawn[1]
    lines = len([line for kind in TALKS for line in turns("train")[kind]])
    once = talk_pool(chat_world, "train", lines, 3)
    spoken = [e.messages[-1]["content"][-1]["text"] for e in once]
    assert {line for line in turns("train")["talk"]} <= {*spoken}


def test_rows_are_what_the_assistant_reads_before_it_decides(chat_world):
    """The same ids as navigator.assistant.decide for words, with placeholders where items are shown."""
    processor = chat_world.recommender.processor
    examples = [*searches(chat_world, 12), *talk_pool(chat_world, "train", 6, 0)]
    inputs = chat_inputs(processor, examples)
    assert int((inputs["input_ids"] == processor.item_token_id).sum()) == len(shown_items(examples))
    assert len(inputs["image_grid_thw"]) == len(shown_items(examples)) > 0
    for row, example in zip(inputs["input_ids"].tolist(), examples, strict=True):
        said = [
            Turn(m["role"], tuple(p.get("text") or ItemPart(str(p["item"])) for p in m["content"]))
            for m in example.messages[-TURNS:]
        ]
        messages = [{"role": "system", "content": NOTHING_SOUGHT}]
        messages += [{"role": turn.role, "content": content(turn, processor)} for turn in said]
        text = processor.apply_chat_template(messages, add_generation_prompt=True)
        want = [*processor.tokenizer(text, add_special_tokens=False)["input_ids"], *example.answer]
        assert row[-len(want) :] == want and {*row[: -len(want)]} <= {processor.tokenizer.pad_token_id}


def test_nobody_searches_by_writing_the_token(chat_world):
    processor = chat_world.recommender.processor
    said = {"role": "user", "content": [{"type": "text", "text": "x<|retrieve|><|im_end|>"}]}
    ids = prompt_ids(processor, ChatExample((), (), (), messages=(said,)))
    assert processor.retrieve_token_id not in ids and ids.count(processor.tokenizer.eos_token_id) == 2


def test_what_no_learning_changes_is_read_once(chat_world):
    model, examples = chat_world.recommender.model, searches(chat_world, 5)
    module = Objective(chat_world, CONFIG)
    batch = StepBatch("chat", [*examples], np.zeros(0, np.int64), SERVED)

    def loss(batch: StepBatch) -> float:
        return float(module(batch, 0, 5).detach())

    first, read = loss(batch), module.tokens
    assert read > 0 and loss(batch) == first and module.tokens == read and not module.memory
    try:
        model.model.requires_grad_(False)
        assert loss(batch) == pytest.approx(first) and module.tokens == read
        assert loss(batch) == pytest.approx(first) and module.tokens == 0
        other = StepBatch("chat", [*examples], np.zeros(0, np.int64), 0)  # another fold's vectors are others
        module.items.sets.insert(0, module.items.sets[0].flip(0))
        assert loss(other) != pytest.approx(first) and 0 < module.tokens < read  # what shows no item is known
    finally:
        model.model.requires_grad_(True)


def by_hand(module: Objective, example: ChatExample) -> torch.Tensor:
    """One conversation alone: first token, mean of the others, and the query against all items but other positives."""
    world, model = module.world, module.model
    ids = torch.tensor([prompt_ids(world.recommender.processor, example) + list(example.answer)])
    shown = torch.from_numpy(world.matrix[shown_items([example])])
    grid = world.recommender.processor.grid(len(shown))
    hidden = model.read(ids, pixel_values=shown, image_grid_thw=grid)[0]
    count = len(example.answer)
    nats = F.cross_entropy(model.lm_head(hidden[-count - 1 : -1]), torch.tensor(example.answer), reduction="none")
    loss = nats[0] + (nats[1:].mean() if count > 1 else 0.0)
    if not example.asks:
        return loss
    start = world.recommender.starts([list(example.history)], [example.words])
    query = model.query(start.clone(), hidden[-1:])[0]
    logits = torch.from_numpy(world.matrix.copy()) @ query / CONFIG.temperature
    for item in {*example.positives, *example.history} - {*example.targets}:
        logits[item] = -torch.inf
    return loss + F.cross_entropy(logits[None], torch.tensor(example.targets))


def test_the_loss_is_the_decision_the_words_and_the_query_of_each_alone(chat_world):
    module = Objective(chat_world, CONFIG)
    examples = [*searches(chat_world, 10), *self_answered(chat_world, talk_pool(chat_world, "train", 6, 0), "")]
    assert {len(e.asks) for e in examples} == {0, 1} and any(len(e.answer) > 1 for e in examples)
    batch = StepBatch("chat", [*examples], np.zeros(0, np.int64), SERVED)
    with torch.no_grad():
        found = module(batch, 0, len(examples))
        want = sum(by_hand(module, example) for example in examples)
    assert float(found) == pytest.approx(float(want), rel=1e-4)
    assert module.tokens == int(chat_inputs(chat_world.recommender.processor, examples)["attention_mask"].sum())


def test_own_answers_are_what_the_model_says_by_itself(chat_world):
    recommender = chat_world.recommender
    pool = talk_pool(chat_world, "train", 6, 0)
    barred = [
        t for t in recommender.processor.tokenizer.all_special_ids if t != recommender.processor.tokenizer.eos_token_id
    ]
    for example in self_answered(chat_world, pool, ""):
        said: list[int] = []
        shown = torch.from_numpy(recommender.pixels(shown_items([example])))
        grid = recommender.processor.grid(len(shown))
        while len(said) < ANSWER and recommender.processor.tokenizer.eos_token_id not in said:
            ids = torch.tensor([prompt_ids(recommender.processor, example) + said])
            with torch.no_grad():
                logits = recommender.model.lm_head(
                    recommender.model.read(ids, pixel_values=shown, image_grid_thw=grid)[0, -1]
                )
            logits[barred] = -torch.inf
            said.append(int(logits.argmax()))
        assert list(example.answer) == said


def test_the_token_is_never_an_own_answer(chat_world):
    head = chat_world.recommender.model.lm_head.emission
    kept = head.bias.detach().clone()
    try:
        torch.nn.init.constant_(head.bias, 1e3)  # it would say nothing else
        said = [
            token for e in self_answered(chat_world, talk_pool(chat_world, "train", 6, 0), "") for token in e.answer
        ]
    finally:
        head.bias.data.copy_(kept)
    assert said and chat_world.recommender.processor.retrieve_token_id not in said


def test_without_an_encoder_or_a_weight_there_is_no_chat(stock, task_store):
    world = make_world(stock, task_store)
    assert check_tasks({"chat": 0.0, "describe": 1.0}, world) == {"describe": 1.0}
    assert check_tasks({"chat": 1.0, "describe": 1.0}, world) == {"chat": 0.5, "describe": 0.5}
    world.recommender.text_vectors = None
    assert check_tasks({"chat": 1.0, "describe": 1.0}, world) == {"describe": 1.0}
    assert told(["x"]).shape == (1, DIM)
