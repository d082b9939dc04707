"""A store is exchanged at once, forth and back, and only an artefact of its kind is ever replaced."""

import importlib.util
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import navigator.contracts.exchange as exchanging
from navigator.contracts import ItemVectors, UserError, publish
from navigator.contracts.exchange import exchange
from navigator.contracts.vectors import write_vectors
from navigator.encode_commands import cutover

_SPEC = importlib.util.spec_from_file_location("vector_stores", Path(__file__).with_name("test_vector_store.py"))
assert _SPEC is not None and _SPEC.loader is not None
stores = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stores)
ITEMS, run, rows, tiny_encoder = stores.ITEMS, stores.run, stores.rows, stores.tiny_encoder
folder, encoded = stores.folder, stores.encoded  # fixtures


def store(path: Path, value: float, encoder: str = "enc", n: int = 500) -> Path:
    """A store whose every number is `value`."""
    with publish(path, "vectors", {"encoder": encoder, "normalised": False, "value": value}, {}) as work:
        write_vectors(work.path, [f"i{i}" for i in range(n)], np.full((n, 8), value, np.float32))
    return path


def test_cut_over_and_back(tmp_path: Path, folder: Path, encoded: list[str]):
    other = tiny_encoder(tmp_path / "other-encoder", seed=3)
    first = run(ITEMS, tmp_path, folder)
    reader, old = ItemVectors.open(tmp_path / "v"), rows(tmp_path / "v")
    coming = run(ITEMS, tmp_path, other, next=True)
    assert coming["out"] == str(tmp_path / "v.next") and coming["encoder"] != first["encoder"]
    assert ItemVectors.open(tmp_path / "v", encoder=first["encoder"]).ids == reader.ids, "readable until the cut-over"
    answer = cutover(tmp_path / "v")
    assert (answer["now"]["encoder"], answer["previous"]["encoder"]) == (coming["encoder"], first["encoder"])
    assert ItemVectors.open(tmp_path / "v").encoder == coming["encoder"] and not (tmp_path / "v.next").exists()
    assert all(np.array_equal(reader.matrix[reader.index[name]], row) for name, row in old.items())
    with pytest.raises(UserError, match=r"v.next does not exist; make one with `navigator embed .* --next`"):
        cutover(tmp_path / "v")
    assert cutover(tmp_path / "v", back=True)["now"]["encoder"] == first["encoder"]
    assert cutover(tmp_path / "v", back=True)["previous"]["encoder"] == first["encoder"]


def test_next_takes_unchanged_rows_from_the_store_in_use(tmp_path: Path, folder: Path, encoded: list[str]):
    run(ITEMS, tmp_path, folder)
    encoded.clear()
    run([*ITEMS, ("late", "late", None)], tmp_path, folder, next=True)
    assert encoded == ["late"] and ItemVectors.open(tmp_path / "v").ids[-1] == "torn"
    assert ItemVectors.open(tmp_path / "v.next").ids[-1] == "late"


def test_the_first_cut_over_has_nothing_to_go_back_to(tmp_path: Path):
    store(tmp_path / "v.next", 1)
    assert "previous" not in cutover(tmp_path / "v") and ItemVectors.open(tmp_path / "v").matrix[0, 0] == 1
    with pytest.raises(UserError, match=r"v.previous does not exist; make one with `navigator cutover"):
        cutover(tmp_path / "v", back=True)


def test_a_cut_over_killed_before_the_exchange_is_finished_by_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store(tmp_path / "v", 1)
    store(tmp_path / "v.next", 2)

    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("navigator.encode_commands.exchange", killed)
        cutover(tmp_path / "v")
    assert ItemVectors.open(tmp_path / "v").matrix[0, 0] == 1
    cutover(tmp_path / "v", back=True)
    assert ItemVectors.open(tmp_path / "v").matrix[0, 0] == 2


def test_exchange_without_the_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    with pytest.raises(OSError):
        exchange(tmp_path / "a", tmp_path / "missing")
    monkeypatch.setattr(exchanging, "ctypes", SimpleNamespace(CDLL=lambda *_, **__: object()))
    exchange(tmp_path / "a", tmp_path / "b")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["a", "a/a", "b", "b/b"]


def test_no_reader_finds_the_store_missing_or_mixed_while_it_is_replaced(tmp_path: Path):
    if not exchanging._exchange_at_once(store(tmp_path / "v", 0), store(tmp_path / "w", 0)):
        pytest.skip("this system has no atomic exchange of folders")
    stop, found = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                opened = ItemVectors.open(tmp_path / "v")
                value = opened.manifest.config["value"] if opened.manifest else None
                found.append(bool((opened.matrix == value).all()) and len(opened.ids) == opened.matrix.shape[0])
            except UserError as error:
                found.append("try again" in str(error))
            except OSError as error:
                found.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for value in range(1, 30):
        store(tmp_path / "v", value, n=100 + value)
    stop.set()
    reader.join()
    assert len(found) > 5 and all(ok is True for ok in found), [ok for ok in found if ok is not True][:3]


def test_only_an_artefact_of_the_same_kind_is_replaced(tmp_path: Path):
    """A slip of --out must not cost anybody's photos, nor the catalogue that is being read."""
    photos = tmp_path / "photos"
    (photos / "summer").mkdir(parents=True)
    (photos / "summer" / "a.png").write_bytes(b"x")
    (tmp_path / "file").write_text("x")
    with publish(tmp_path / "catalog", "catalog", {}, {}):
        pass
    for out, told in (
        ("photos", "holds other things"),
        ("file", "is a file"),
        ("catalog", "holds a catalog and would"),
    ):
        with pytest.raises(UserError, match=told), publish(tmp_path / out, "vectors", {}, {}):
            raise AssertionError("nothing may run")
    assert (photos / "summer" / "a.png").read_bytes() == b"x" and (tmp_path / "file").read_text() == "x"
    (tmp_path / "empty").mkdir()
    for out in ("empty", "new", "new"):
        with publish(tmp_path / out, "vectors", {}, {}) as work:
            (work.path / "f").write_text("y")
        assert (tmp_path / out / "f").is_file()
