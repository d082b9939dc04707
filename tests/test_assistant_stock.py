"""What the catalogue lacks: by its own words, and by a threshold that is measured without labels."""

import numpy as np

from navigator.assistant.stock import Stock, threshold
from navigator.contracts.vectors import as_stored, normalise
from pipeline_worlds import fresh, units


def test_a_wish_is_lacking_when_no_item_carries_half_the_weight_of_its_names_and_none_is_near():
    rows = {"car": np.arange(50), "flag": np.array([3, 4]), "africa": np.array([4, 5])}
    stock, wish = Stock(rows, 100, near=0.5), ["quantum", "car"]
    assert stock.lacks(wish, wish, 0.4) is True  # the rare word weighs most, and no item has it
    assert stock.lacks(wish, wish, 0.5) is False
    assert stock.lacks(["car"], wish, 0.4) is False
    assert stock.lacks(["quantum"], wish, 0.4) is True
    assert stock.lacks([], wish, 0.4) is False  # names nothing, and one word is carried
    assert stock.lacks([], ["quantum"], 0.4) is True
    assert stock.lacks(["flags", "africa"], ["flags", "africa"], 0.1) is False
    assert stock.lacks([], [], 0.1) is False
    assert Stock(rows, 100, near=None).lacks(["quantum"], ["quantum"], 0.1) is False
    found, share = stock.matches(["flags", "africa"])
    assert found[0] == 4 and share[0] == 1.0
    assert set(found.tolist()) == {3, 4, 5}


def test_the_threshold_is_what_one_foreign_word_in_forty_reaches(refined, project):
    store = fresh(refined, project).store
    near = dict(zip([f"w{n}" for n in range(80)], units(80, 6), strict=True))

    def reads(texts):
        return as_stored(np.stack([near[text] for text in texts]), 6, store.dim)

    content = normalise(store.float32()[:, :6])
    best = sorted(max(float(row @ vector) for row in content) for vector in near.values())
    reached = threshold(store, reads, list(near))
    assert reached is not None and best[77] <= reached <= best[78]
    assert threshold(store, reads, list(near)[:20]) is None
