"""The ground rules: names resolve inside the repo, presets parse, help needs no torch."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from navigator.cli_tools import command_parser, plain_words

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", ["navigator", "encoders", "graph", "train", "bench"])
def test_packages_resolve_inside_the_repo(package):
    module = importlib.import_module(package)
    assert module.__file__ is not None and Path(module.__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("prog", ["navigator.cli", "bench.cli"])
def test_help_is_quick_because_it_needs_no_torch(prog):
    code = f"import sys; from {prog} import main; sys.exit(main(['--help']) or ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout and done.stderr == ""


# Those of accelerate and Ray Serve are their own, those of shadow are thresholds.
PRESETS = [
    p for p in sorted((ROOT / "configs").rglob("*.yaml")) if p.parent.name not in ("accelerate", "serve", "shadow")
]


@pytest.mark.parametrize("preset", PRESETS, ids=[str(p.relative_to(ROOT)) for p in PRESETS])
def test_every_shipped_preset_is_accepted_by_its_command(preset):
    from bench.run import run
    from bench.speed.command import latency
    from train.align import align
    from train.clip.__main__ import clip
    from train.gnn.__main__ import gnn
    from train.posttrain import posttrain
    from train.prefer.__main__ import prefer

    commands = {
        "align": align,
        "bench": run,
        "clip": clip,
        "latency": latency,
        "lightgcn": gnn,
        "omnisage": gnn,
        "prefer": prefer,
    }
    function = commands.get(preset.stem.split("-")[0], posttrain)
    given = ["--config", str(preset)]
    for name in ("model", "vectors", "catalog", "graph", "out"):
        if name in function.__annotations__:
            given += [f"--{name}", "x"]
    parsed = command_parser("x", function).parse_args(plain_words(function, given)).as_dict()
    for key, value in yaml.safe_load(preset.read_text()).items():
        if isinstance(value, dict):
            assert {k: list(v) if isinstance(v := parsed[key][k], tuple) else v for k in value} == value
        else:
            assert parsed[key] == value


def test_an_unknown_config_key_is_one_line_with_the_valid_keys(tmp_path, capsys):
    from train.align import align
    from train.frame import main

    for text, word in (("stepz: 3\n", "stepz"), ("loop: {stepz: 3}\n", "stepz")):
        preset = tmp_path / "bad.yaml"
        preset.write_text(text)
        argv = ["--config", str(preset), "--model", "m", "--vectors", "v", "--catalog", "c", "--out", "o"]
        assert main("train.align", align, argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        assert word in err and "valid keys" in err and "native" in err
