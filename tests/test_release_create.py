"""A release is made of parts that belong together and answer, stays what it is, and is whole or absent."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from navigator.cli import main
from navigator.contracts import UserError
from navigator.model_commands import index as index_command
from navigator.pipeline import Pipeline
from navigator.release import parts
from navigator.release.history import done, history_file
from navigator.release.live import promote_release
from navigator.release.parts import Sources, create_release
from navigator.release.store import Release, names
from release_worlds import other_vectors


def refusals(root: Path) -> list[str]:
    lines = [json.loads(line) for line in history_file(root).read_bytes().splitlines()]
    return [line["reason"] for line in lines if line["outcome"] == "refused"]


def test_linked_numbered_and_the_same_after_its_parts_are_replaced(made_of: Sources, tmp_path: Path):
    root = tmp_path / "root"
    answer = create_release(root, made_of, note="the first")
    assert (answer["release"], answer["copied_files"], answer["items"], answer["items_without_vector"]) == (
        "r1",
        0,
        60,
        0,
    )
    release, before = Release.read(root, "r1"), (root / "r1" / "vectors" / "vectors.safetensors").read_bytes()
    assert release.sizes()["shared_bytes"] >= len(before) and release.catalog == Path(made_of.catalog).resolve()
    other_vectors(made_of.vectors, made_of.catalog)
    index_command(made_of.vectors, made_of.index)
    release.check()
    assert (root / "r1" / "vectors" / "vectors.safetensors").read_bytes() == before
    assert (made_of.vectors / "vectors.safetensors").read_bytes() != before
    assert create_release(root, made_of)["release"] == "r2" and names(root) == ["r1", "r2"]
    assert Release.read(root, "r2").parts["vectors"] != release.parts["vectors"]


def test_copies_where_links_are_not_possible_or_not_wanted(
    made_of: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copied = create_release(tmp_path / "root", made_of, copy=True)
    assert copied["linked_files"] == 0 and copied["copied_files"] > 5 and copied["why_copied"] == []
    assert Release.read(tmp_path / "root", "r1").sizes()["shared_bytes"] == 0

    def elsewhere(*_: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", elsewhere)
    answer = create_release(tmp_path / "root", made_of)
    assert answer["linked_files"] == 0 and answer["why_copied"] == ["Invalid cross-device link"]


def test_a_source_that_is_written_in_place_is_found_out_before_it_goes_live(made_of: Sources, tmp_path: Path):
    create_release(tmp_path / "root", made_of)
    config = made_of.model / "config.json"
    with config.open("r+") as handle:  # the same file, not a new one
        handle.write(handle.read().replace("0", "1"))
    with pytest.raises(UserError, match="was changed after it was made"):
        promote_release(tmp_path / "root", "r1")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("index", "was built from vectors .* these are"),
        ("vectors", "come from encoder strange .* but the model was swapped for mixed"),
        ("catalog", "hold item 'i00', which catalogue .* lacks"),
        ("bytes", "the files of the vectors are not those of its fingerprint"),
        ("missing", "index folder .* does not exist; make one with `navigator index`"),
    ],
)
def test_parts_that_do_not_belong_together_become_no_release(part: str, told: str, made_of: Sources, tmp_path: Path):
    sources = made_of
    if part == "index":
        other_vectors(made_of.vectors, made_of.catalog)
    elif part == "vectors":
        other_vectors(made_of.vectors, made_of.catalog, "strange")
        index_command(made_of.vectors, made_of.index)
    elif part == "catalog":
        from navigator.catalog_commands import import_table

        (tmp_path / "items.csv").write_text("item_id,title\nz1,red\nz2,blue\n")
        import_table(tmp_path / "other", tmp_path / "items.csv")
        sources = Sources(made_of.model, made_of.vectors, made_of.index, tmp_path / "other")
    elif part == "bytes":
        with (made_of.vectors / "vectors.safetensors").open("r+b") as handle:
            handle.seek(-1, 2)
            handle.write(b"\x7f")
    else:
        shutil.rmtree(made_of.index)
    root = tmp_path / "root"
    with pytest.raises(UserError, match=told):
        create_release(root, sources)
    assert names(root) == [] and not (root / "r1").exists() and len(refusals(root)) == 1
    if part == "index":
        index_command(made_of.vectors, made_of.index)
        assert create_release(root, sources)["release"] == "r1"


def test_an_encoder_that_did_not_make_the_vectors_is_refused(made_of: Sources, tmp_path: Path):
    from test_encoders import tiny_encoder  # type: ignore[import-not-found]

    encoder = tiny_encoder(tmp_path / "encoder")
    sources = Sources(made_of.model, made_of.vectors, made_of.index, made_of.catalog, str(encoder))
    with pytest.raises(UserError, match="content comes from encoder enc"):
        create_release(tmp_path / "root", sources)


def test_a_name_means_one_release_for_ever(made_of: Sources, tmp_path: Path):
    root = tmp_path / "root"
    create_release(root, made_of, "v1.2")
    with pytest.raises(UserError, match=r"'v1\.2' is or was in"):
        create_release(root, made_of, "v1.2")
    create_release(root, made_of)
    shutil.rmtree(root / "r1")
    with pytest.raises(UserError, match="'r1' is or was in"):
        create_release(root, made_of, "r1")
    assert create_release(root, made_of)["release"] == "r2"
    for bad in ("../v2", "a/b", "", "x.work", "current.json", "ä", ".hidden", "a" * 65):
        with pytest.raises(UserError, match="release name"):
            create_release(root, made_of, bad)


def test_killed_while_it_is_made_there_is_none_and_the_next_try_makes_it(
    made_of: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parts, "try_parts", killed)
        create_release(tmp_path / "root", made_of)
    assert names(tmp_path / "root") == [] and done(tmp_path / "root", "create") == []
    (tmp_path / "root" / "r1.work" / "model" / "half").write_text("of a copy")
    assert create_release(tmp_path / "root", made_of)["release"] == "r1"
    assert not (tmp_path / "root" / "r1" / "model" / "half").exists()
    Release.read(tmp_path / "root", "r1").check()


def test_a_release_opens_and_answers_as_its_parts_do_and_leaves_memory_at_once(made_of: Sources, tmp_path: Path):
    import gc
    import weakref

    create_release(tmp_path / "root", made_of)
    home = tmp_path / "root" / "r1"
    opened = Pipeline.open(home / "model", home / "vectors", home / "index", made_of.catalog)
    direct = Pipeline.open(made_of.model, made_of.vectors, made_of.index, made_of.catalog)
    asked = {"history": opened.store.ids[:3], "k": 5, "session": "s"}
    assert opened.recommend(**asked).results == direct.recommend(**asked).results
    left = [weakref.ref(opened), weakref.ref(opened.recommender.model), weakref.ref(opened.index)]
    gc.collect()
    gc.disable()
    try:
        del opened
        assert [ref() for ref in left] == [None, None, None], "no ring of references keeps a model that was replaced"
    finally:
        gc.enable()


def test_the_commands(made_of: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = str(tmp_path / "root")
    given = [
        "--model",
        made_of.model,
        "--vectors",
        made_of.vectors,
        "--index",
        made_of.index,
        "--catalog",
        made_of.catalog,
    ]
    create = ["release", "create", root, *map(str, given)]
    assert main([*create, "--name", "v1"]) == 0 and main([*create, "--note", "second"]) == 0
    assert main(["release", "promote", root, "v1"]) == 0
    assert main(["release", "promote", root, "r1"]) == 2
    assert "release r1 stays away, v1 stays live: no shadow report was given" in capsys.readouterr().err
    assert main(["release", "promote", root, "r1", "--force", "a fix"]) == 0
    assert main(["release", "rollback", root, "it was worse"]) == 0
    capsys.readouterr()
    assert main(["release", "list", root]) == 0
    told = capsys.readouterr().out
    assert told.startswith("live: v1 since ") and "it was worse" in told and "second" in told and "why: a fix" in told
    assert main(["release", "list", str(tmp_path / "typo")]) == 2
    assert "is not a folder of releases" in capsys.readouterr().err
