"""Bad input on the command line: one line on stderr, exit code 2, nothing on stdout."""

import shutil

import pytest

from bench.cli import main as bench_main
from navigator.cli import main
from train.frame import main as train_main
from train.posttrain import posttrain


def refused(capsys, code: int) -> str:
    out, err = capsys.readouterr()
    assert code == 2 and out == "", (code, out, err)
    assert err.splitlines()[-1].startswith("error: ") and "Traceback" not in err
    return err.splitlines()[-1]


def test_missing_catalogue(project, capsys):
    line = refused(capsys, main(["show", str(project / "nowhere")]))
    assert "nowhere does not exist" in line and "navigator import" in line


def test_a_sheet_that_would_be_a_folder(project, tmp_path, capsys):
    line = refused(capsys, main(["show", str(project / "catalog"), "--out", str(tmp_path)]))
    assert line == f"error: {tmp_path} is a folder; give the name of a PNG file" and not any(tmp_path.iterdir())


def test_half_written_catalogue_is_not_read(project, tmp_path, capsys):
    shutil.copytree(project / "catalog", tmp_path / "half")
    (tmp_path / "half" / "manifest.json").unlink()
    assert "not complete" in refused(
        capsys, main(["graph", "build", str(tmp_path / "half"), "--out", str(tmp_path / "g")])
    )


def test_vectors_of_another_encoder(project, tmp_path, capsys):
    shutil.copytree(project / "vectors", tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"enc"', '"cne"'))
    argv = ["recommend", "--model", str(project / "swapped"), "--vectors", str(tmp_path / "other")]
    argv += ["--index", str(project / "index"), "--catalog", str(project / "catalog"), "--items", "i01,i02"]
    line = refused(capsys, main(argv))
    assert "cne" in line and "enc" in line


def test_wrong_k(project, tmp_path, capsys):
    argv = [
        "swap",
        "--backbone",
        str(project / "stock"),
        "--vectors",
        str(project / "vectors"),
        "--out",
        str(tmp_path / "m"),
    ]
    assert "allowed are 1 to 64" in refused(capsys, main([*argv, "--tokens-per-item", "0"]))
    assert not (tmp_path / "m").exists()


def test_unknown_config_key(project, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("langage: lora\n")
    argv = [f"--{name}={project / name}" for name in ("vectors", "catalog", "graph")]
    argv += ["--model", str(project / "swapped"), "--out", str(tmp_path / "m"), "--config", str(tmp_path / "bad.yaml")]
    line = refused(capsys, train_main("train.posttrain", posttrain, argv))
    assert "langage" in line and "valid keys" in line and "language" in line


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [("--board", "nope", "b0"), ("--user", "nope", "u0"), ("--items", "i01,nope", "60 items")],
)
def test_unknown_board_user_and_item(project, capsys, flag, value, says):
    argv = ["recommend", "--model", str(project / "swapped"), "--vectors", str(project / "vectors")]
    argv += ["--index", str(project / "index"), "--catalog", str(project / "catalog"), flag, value]
    line = refused(capsys, main(argv))
    assert "'nope'" in line and says in line


def test_corrupt_index(project, tmp_path, capsys):
    shutil.copytree(project / "index", tmp_path / "index")
    file = tmp_path / "index" / "index.faiss"
    file.write_bytes(file.read_bytes()[:100])
    line = refused(capsys, main(["search", str(tmp_path / "index"), "--item", "i01"]))
    assert "corrupt" in line and "navigator index" in line


def test_empty_split(project, tmp_path, capsys):
    assert main(["graph", "build", str(project / "catalog"), "--out", str(tmp_path / "g"), "--min_board", "50"]) == 0
    capsys.readouterr()
    argv = [
        "run",
        "--catalog",
        str(project / "catalog"),
        "--vectors",
        str(project / "vectors"),
        "--graph",
        str(tmp_path / "g"),
    ]
    assert "empty" in refused(capsys, bench_main([*argv, "--out", str(tmp_path / "r")]))


def test_a_model_that_was_not_swapped(project, capsys):
    argv = ["recommend", "--model", str(project / "stock"), "--vectors", str(project / "vectors")]
    argv += ["--index", str(project / "index"), "--catalog", str(project / "catalog"), "--items", "i01"]
    assert "not a swapped one" in refused(capsys, main(argv))
