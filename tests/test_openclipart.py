"""openclipart: what counts as a work, which boards there are, and that no text gives its board away."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from navigator.assets import cache_dir
from navigator.catalog_commands import import_openclipart
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import held_out
from navigator.importers.ingest import Limits, write_catalog
from navigator.importers.keyword_boards import file_by_keyword
from navigator.importers.leaks import phrase_and_words, stem, term, without
from navigator.importers.openclipart import BoardKind, _drawings, _root, _source
from navigator.importers.rdf import Work, read_work

SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg"><metadata><rdf:RDF xmlns:cc="http://web.resource.org/cc/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work>
<dc:title>{title}</dc:title><dc:description>{description}</dc:description>
<dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>{uploader}</dc:title></cc:Agent></dc:creator>
</cc:Work></rdf:RDF></metadata></svg>"""


def draw(root: Path, place: str, title: str, uploader: str, keywords: str, shade: int, description: str = "") -> None:
    svg, png = root / "usr/share/openclipart/svg" / place, root / "usr/share/openclipart/png" / place
    svg, png = svg.with_suffix(".svg"), png.with_suffix(".png")
    for path in (svg, png):
        path.parent.mkdir(parents=True, exist_ok=True)
    entries = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords.split(",") if keyword)
    svg.write_text(SVG.format(title=title, description=description, keywords=entries, uploader=uploader))
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(png)


def world(root: Path) -> Path:
    ann, flags, keywords = "Ann O'Hara", "signs_and_symbols/flags", "flag,north_america,unsorted,hash"
    draw(root, f"{flags}/ann_a", f"Flag of France by {ann}", ann, "flag,North_America,unsorted,hash", 1)
    draw(root, f"{flags}/ann_b", "north flag america", ann, keywords, 2, "By ann_o-hara!")
    draw(root, f"{flags}/ann_c", "Flags", ann, f"{keywords},flag,{ann}", 3, "symbol for 2 signs")
    draw(root, "food/bob", "Pie &amp;amp; flag", "Bob", "food", 4)  # not Ann's board: its "flag" stays
    draw(root, "food/twin", "Pie again", "Bob", "food", 4)  # the same PNG bytes
    draw(root, "food/nameless", "", "Bob", "food", 5)
    draw(root, "flat-theme/icon", "Icon", "Bob", "food", 6)
    draw(root, "recreation/games/cards/ace", "Ace", "Bob", "food", 7)
    draw(root, "shapes/stars/star", "Star", "Bob", "food", 8)
    link = root / "usr/share/openclipart/svg/food/link.svg"
    link.symlink_to("bob.svg")
    # Linked the other way round: the SVG is a file, its PNG a link to that of a theme, which is no work.
    draw(root, "food/pear", "Pear", "Bob", "", 9)
    png = root / "usr/share/openclipart/png"
    (png / "food/pear.png").unlink()
    (png / "food/pear.png").symlink_to("../flat-theme/icon.png")
    return root


def test_small_world(tmp_path: Path) -> None:
    answer = import_openclipart(tmp_path / "c", world(tmp_path / "source"))
    assert answer["counts"] == {"items": 5, "boards": 2, "board_items": 6, "interactions": 0, "rejects": 2}
    assert answer["rejects"] == {"duplicate id": 1, "empty text": 1}
    left_out = {"icon theme": 1, "playing card": 1, "generated star": 1, "SVG is a link to another": 1}
    assert answer["left_out"] == left_out
    catalog = Catalog.open(tmp_path / "c")
    assert catalog.manifest.metrics["left_out"] == left_out
    boards = catalog.table("boards").to_pylist()
    assert boards == [
        {"board_id": "ann-o-hara/flag", "title": "flag", "owner_id": "Ann O'Hara"},
        {"board_id": "ann-o-hara/north-america", "title": "north america", "owner_id": "Ann O'Hara"},
    ]
    items = {row["source_path"].split("/")[-1]: row for row in catalog.table("items").to_pylist()}
    assert {name: row["text"] for name, row in items.items()} == {
        "bob.svg": "Pie & flag", "pear.svg": "Pear", "ann_a.svg": "of France", "ann_b.svg": "", "ann_c.svg": "for 2",
    }  # fmt: skip
    assert items["ann_a.svg"]["title"] == "Flag of France by Ann O'Hara"
    assert items["ann_a.svg"]["keywords"] == ["flag", "north_america", "unsorted", "hash"]
    assert all(re.fullmatch(r"oca-[0-9a-f]{8}", item_id) for item_id in catalog.item_ids)
    assert import_openclipart(tmp_path / "c", tmp_path / "source")["unchanged"]


def test_both_layouts_and_none(tmp_path: Path) -> None:
    world(tmp_path / "one")
    (tmp_path / "two").mkdir()
    for kind in ("svg", "png"):
        target = tmp_path / "two" / kind / "usr/share/openclipart"
        target.mkdir(parents=True)
        (tmp_path / "one/usr/share/openclipart" / kind).rename(target / kind)
    assert import_openclipart(tmp_path / "c", tmp_path / "two")["counts"]["items"] == 5
    with pytest.raises(UserError, match="navigator fetch openclipart"):
        import_openclipart(tmp_path / "c", tmp_path / "one")


def test_pictures_too_large_make_no_boards(tmp_path: Path) -> None:
    """Boards are made from what is let in: nothing of a refused picture is left behind as a dangling save."""
    answer = import_openclipart(tmp_path / "c", world(tmp_path / "source"), max_pixels=64)
    assert answer["counts"]["boards"] == 2
    huge = tmp_path / "source/usr/share/openclipart/png/signs_and_symbols/flags/ann_a.png"
    Image.new("RGB", (9, 9)).save(huge)
    answer = import_openclipart(tmp_path / "c", tmp_path / "source", max_pixels=64)
    assert answer["counts"]["boards"] == 0 and answer["rejects"]["picture too large"] == 1
    assert "unknown item" not in answer["rejects"]


def test_a_tenth_keeps_boards_whole(tmp_path: Path) -> None:
    for uploader in range(20):
        for work in range(3):
            shade = 3 * uploader + work + 1
            draw(tmp_path / "s", f"food/{uploader}_{work}", f"Work {work}", f"Name{uploader}", "food", shade)
    whole = import_openclipart(tmp_path / "whole", tmp_path / "s")["counts"]
    tenth = import_openclipart(tmp_path / "tenth", tmp_path / "s", tenth=True)["counts"]
    assert (whole["items"], whole["boards"], tenth["items"], tenth["boards"]) == (60, 20, 6, 2)
    every = Catalog.open(tmp_path / "whole").item_index
    assert all(item_id in every for item_id in Catalog.open(tmp_path / "tenth").item_ids)


@pytest.mark.parametrize(
    ("text", "phrases", "left"),
    [
        ("Flag_of-Flags, FLAG", ["flag"], "of"),
        ("flagpole", ["flag"], "flagpole"),
        ("flag2", ["flag"], "2"),
        ("Berries and a berry", ["berry"], "and a"),
        ("a berry", ["berries"], "a"),
        ("potatoes, shoes", ["potato", "shoe"], ""),
        ("north flag america", ["flag", "north america"], ""),
        ("northern America", ["north america"], "northern America"),
        ("Moisés drew", ["moises"], "drew"),
        ("by x@y.org (flag) see http://a.b/flag", ["flag"], "by see"),
        ("glass", ["glas"], "glass"),
    ],
)
def test_whole_words_are_removed(text: str, phrases: list[str], left: str) -> None:
    assert without(text, [term(phrase) for phrase in phrases]) == left


def test_phrase_and_words() -> None:
    assert without("signs of the sea and symbols", phrase_and_words("signs_and_symbols")) == "of the sea and"
    assert without("mo and more", phrase_and_words("mo")) == "and more"
    assert phrase_and_words("") == [()] and without("as it is", phrase_and_words("")) == "as it is"


@pytest.mark.parametrize("broken", [False, True])
def test_rdf(tmp_path: Path, broken: bool) -> None:
    text = SVG.format(
        title="L&amp;Atilde;&amp;copy;zard\n 1", description="HASH(0x85a0c44)", uploader="Zo&#233;",
        keywords="<rdf:li>A_b</rdf:li><rdf:li/><rdf:li>a_b</rdf:li><rdf:li>c &amp; d</rdf:li>",
    )  # fmt: skip
    path = tmp_path / "x.svg"
    path.write_text(text.replace("</svg>", "<unclosed></svg>") if broken else text)
    work = read_work(path)
    assert (work.title, work.description, work.uploader) == ("Lézard 1", "", "Zoé")
    assert work.keywords == ("a_b", "c & d")


def whole_word(phrase: str, text: str) -> bool:
    """The oracle: underscores and hyphens read as spaces, any case, nothing else clever."""
    plain = [" ".join(re.sub(r"[_\-]", " ", part).lower().split()) for part in (phrase, text)]
    return bool(plain[0]) and re.search(rf"(?<!\w){re.escape(plain[0])}(?!\w)", plain[1]) is not None


def leaks(catalog: Catalog) -> list[tuple[str, str]]:
    """Every (text, word) where an item's text names a keyword of its boards, its uploader or its folders."""
    titles = {row["board_id"]: row["title"] for row in catalog.table("boards").to_pylist()}
    words: dict[str, set[str]] = {item_id: set() for item_id in catalog.item_ids}
    for row in catalog.table("board_items").to_pylist():
        words[row["item_id"]].add(titles[row["board_id"]])
    found = []
    for row in catalog.table("items", ["item_id", "uploader", "source_path", "text"]).to_pylist():
        folders = row["source_path"].split("/")[:-1]
        parts = re.split(r"[\W_]+", " ".join([row["uploader"], *folders]))
        small = {
            part for part in parts if len(part) < 3 or part.lower() in ("and", "the", "of") or re.search(r"\d", part)
        }
        names = words[row["item_id"]] | {row["uploader"], *folders} | (set(parts) - small)
        found += [(row["text"], name) for name in names if whole_word(name, row["text"])]
    return found


def test_no_leak_in_the_small_world(tmp_path: Path) -> None:
    import_openclipart(tmp_path / "c", world(tmp_path / "source"))
    assert leaks(Catalog.open(tmp_path / "c")) == []


# ---- keyword boards


def people(n: int, unseen: bool) -> list[str]:
    """Names of uploaders whom the fixed hash makes seen or unseen."""
    names = [f"Uploader{c}{d}" for c in "abcdefghij" for d in "klmnopqrst"]
    return [
        name
        for name, out in zip(names, held_out(names, 0.15, "unseen-uploaders-v1"), strict=True)
        if bool(out) == unseen
    ][:n]


def topic(part: str) -> str:
    """A keyword whose board the fixed hash puts in a part."""
    names = [f"topic{c}{d}" for c in "abcdefghij" for d in "klmnopqrtu"]
    test, either = (held_out(names, share, "keyword-boards-v1") for share in (0.2, 0.35))
    return next(
        n for n, t, e in zip(names, test, either, strict=True) if ("test" if t else "valid" if e else "train") == part
    )


def filed(*groups: tuple[list[str], str, int]) -> list[tuple[str, Work]]:
    """Works by (uploaders in turn, keywords, how many), with ids by number."""
    rows = [(who[k % len(who)], keywords) for who, keywords, n in groups for k in range(n)]
    return [(f"w{n}", Work(f"Work {n}", "", who, tuple(keywords.split(",")))) for n, (who, keywords) in enumerate(rows)]


def test_a_keyword_over_all_uploaders_is_a_board_from_six_works_of_two_uploaders() -> None:
    ann, bob, cat = people(3, unseen=False)
    filing = file_by_keyword(filed(
        ([ann, bob], "icon", 4), ([bob], "icons,Icons", 2), ([cat], "lonely", 9), ([ann, bob], "few", 5),
        ([ann, bob], f"hash,unsorted,{cat.lower()},!", 7), ([""], "icon", 3), ([ann, cat], "north_america", 3),
        ([ann, cat], "NorthAmerica", 4),
    ))  # fmt: skip
    assert filing.boards == {
        ("keyword", "icon"): [f"w{n}" for n in range(6)],
        ("keyword", "NorthAmerica"): [f"w{n}" for n in range(30, 37)],
    }
    assert filing.words["w5"] == {"icon", "icons", "Icons"} and filing.words["w30"] == {"NorthAmerica", "north_america"}
    assert "w6" not in filing.words and filing.counts["spellings joined"] == 3


def test_keyword_boards_of_the_same_works_are_one_and_the_first_in_the_alphabet_stays() -> None:
    who = people(2, unseen=False)
    filing = file_by_keyword(filed((who, "zebra,apple", 6), (who, "zebra,mango", 6)))
    assert set(filing.boards) == {("keyword", "apple"), ("keyword", "mango"), ("keyword", "zebra")}
    filing = file_by_keyword(filed((who, "zebra,apple", 6)))
    assert set(filing.boards) == {("keyword", "apple")} and filing.counts["twins joined"] == 1
    assert filing.words["w0"] == {"apple", "zebra"}  # the lost title leaves the text too


def test_the_part_of_a_keyword_is_a_hash_of_what_its_spellings_share() -> None:
    who = people(2, unseen=False)
    names = [topic(part) for part in ("train", "valid", "test")]
    filing = file_by_keyword(filed(*((who, name, 6) for name in names)))
    assert filing.parts == {
        ("keyword", name): part for name, part in zip(names, ("train", "valid", "test"), strict=True)
    }
    plural = file_by_keyword(filed(*((who, f"{name}s", 7) for name in names)))
    assert plural.parts == {("keyword", f"{name}s"): part for (_, name), part in (filing.parts or {}).items()}


def test_works_of_unseen_uploaders_are_on_no_board_but_their_own() -> None:
    seen, unseen = people(2, unseen=False), people(2, unseen=True)
    filing = file_by_keyword(filed((seen, "flag,oak", 6), (unseen[:1], "flag,yew", 4), (unseen[1:], "flag,oak", 3)))
    assert filing.boards == {
        ("keyword", "flag"): [f"w{n}" for n in range(6)],
        ("unseen-uploaders", "flag"): [f"w{n}" for n in range(6, 13)],
        ("unseen-uploaders", "yew"): [f"w{n}" for n in range(6, 10)],
    }  # oak has the works of flag, and three of unseen uploaders are too few
    assert filing.words["w10"] == {"flag", "oak"}  # cut from the board of oaks, yet the word would tell
    assert {part for key, part in (filing.parts or {}).items() if key[0] != "keyword"} <= {"valid", "test"}
    assert filing.counts["unseen uploaders"] == 2 and filing.counts["their works"] == 7
    names = [f"{c}{d}" for c in "abcdefghij" for d in "klmnopqrst"]
    many = file_by_keyword(filed(*((unseen, name, 4) for name in names)))
    assert 20 <= list((many.parts or {}).values()).count("valid") <= 46 and len(many.boards) == 100


def keyword_world(root: Path) -> Path:
    ann, bob, cold = *people(2, unseen=False), *people(1, unseen=True)
    for n in range(6):
        draw(
            root,
            f"x/{n}",
            f"Icon of an oak {n}",
            (ann, bob)[n % 2],
            "icons" if n % 2 else "icon",
            3 * n + 1,
            "icons oak",
        )
    for n in range(4):
        draw(root, f"x/cold{n}", f"Icons of yews {n}", cold, "icon,yew", 3 * n + 100)
    return root


def test_keyword_boards_in_a_catalogue_have_parts_and_tell_no_text(tmp_path: Path) -> None:
    answer = import_openclipart(tmp_path / "c", keyword_world(tmp_path / "s"), boards="keyword")
    catalog = Catalog.open(tmp_path / "c")
    boards = {row["board_id"]: row for row in catalog.table("boards").to_pylist()}
    assert boards.keys() == {"keyword/icon", "unseen-uploaders/icon"}
    assert [row["title"] for row in boards.values()] == ["icon", "icon"]
    assert boards["unseen-uploaders/icon"]["owner_id"] == "unseen-uploaders" and answer["counts"]["board_items"] == 10
    assert all(row["part"] in ("train", "valid", "test") for row in boards.values())
    texts = catalog.table("items")["text"].to_pylist()
    assert all("con" not in text for text in texts) and "of an oak 0. oak" in texts and "of 0" in texts
    assert leaks(catalog) == [] and answer["keyword_boards"]["twins joined"] == 1
    assert import_openclipart(tmp_path / "c", tmp_path / "s", boards="keyword")["unchanged"]
    assert not import_openclipart(tmp_path / "c", tmp_path / "s")["unchanged"]
    assert Catalog.open(tmp_path / "c").columns("boards") == ["board_id", "title", "owner_id"]


@pytest.mark.parametrize(("one", "other"), [
    ("icon", "Icons"), ("north_america", "NorthAmerica"), ("berry", "berries"), ("house", "houses"), ("bus", "buses"),
    ("glass", "glasses"), ("box", "boxes"), ("movie", "movies"), ("potato", "potatoes"), ("caf\u00e9", "cafes"),
])  # fmt: skip
def test_spellings_share_a_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other) != ""


def test_other_words_do_not_share_a_stem() -> None:
    words = ["pin", "pine", "cub", "cube", "fir", "fire", "car", "care", "star", "stare", "glas s", "ass", "as"]
    assert len({stem(word) for word in words}) == len(words)


def test_the_leak_oracle_sees_leaks() -> None:
    assert whole_word("North_America", "of north-america!") and not whole_word("flag", "flagpole")


def _real() -> Path:
    return cache_dir() / "openclipart"


@pytest.mark.skipif(not _real().is_dir(), reason="needs `navigator fetch openclipart`")
@pytest.mark.parametrize("kind", ["uploader", "keyword"])
def test_no_leak_in_the_real_catalogue(tmp_path: Path, kind: BoardKind) -> None:
    """A tenth is too small a sample and the pictures take a minute, so the rows are read without them."""
    drawings = _drawings(_root(_real(), "svg"), _root(_real(), "png"), Counter())
    source = _source(drawings, 50_000_000, kind)
    rows = ({**row, "image": None} for row in source.items)
    bare = replace(source, items=rows)
    answer = write_catalog(tmp_path / "c", {}, {}, lambda: bare, Limits())
    low, high = (600, 700) if kind == "uploader" else (220, 260)
    assert 3900 <= answer["counts"]["items"] <= 4200 and low <= answer["counts"]["boards"] <= high
    assert leaks(Catalog.open(tmp_path / "c")) == []
