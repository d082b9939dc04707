"""Commands around the model: swap, index, search."""

from pathlib import Path
from typing import Any, Literal

from navigator.contracts import Catalog, ItemVectors, UserError, is_current, publish


def swap(
    out: Path, backbone: str = "embedded", encoder: str | None = None, vectors: Path | None = None,
    tokens_per_item: int = 1, native: str | None = None, layers: int | None = None, pretrained: bool = True,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Swap a Qwen-VL's vision tower for an item tower that reads precomputed vectors.

    Args:
        out: where the swapped model goes, an ordinary Hugging Face folder.
        backbone: folder or hub id of a stock Qwen2.5-VL or Qwen3-VL; "embedded" is the default one (navigator fetch weights).
        encoder: the encoder whose vectors the model will read: a folder, an open_clip name, a hub id or "embedded".
        vectors: instead of --encoder: the store of item vectors the model will read (content or refined).
        tokens_per_item: language-model tokens an item becomes, 1 to 64.
        native: build the comparison instead: this encoder's picture tower runs at request time, one token a grid cell.
        layers: keep only so many of the language model's first layers: cheaper, and enough where little is said in words.
        pretrained: false draws the language layers anew, to see what their knowledge is worth.
        seed: of the new tower's weights.
    """
    if (encoder is None) == (vectors is None):
        raise UserError("give exactly one of --encoder NAME and --vectors FOLDER: whose vectors will the model read?")
    from navigator.encode_commands import resolve_backbone, resolve_encoder

    if vectors is not None:
        store = ItemVectors.open(vectors)
        dim, content_dim, fingerprint = store.dim, store.content_dim, store.encoder
    else:
        from encoders.load import load_encoder

        loaded = load_encoder(resolve_encoder(str(encoder)))
        dim, content_dim, fingerprint = loaded.dim, loaded.dim, loaded.fingerprint
    source = resolve_backbone(backbone)
    config = {
        "stage": "swap", "backbone": backbone, "encoder": fingerprint, "dim": dim, "tokens_per_item": tokens_per_item,
        "content_dim": content_dim, "native": native, "layers": layers, "pretrained": pretrained, "seed": seed,
    }  # fmt: skip
    if is_current(out, "model", config, {}):
        return {"out": str(out), "unchanged": True}
    from navigator import swap as swapping

    trunk, patch = None, None
    if native is not None:
        from navigator.native import runtime_tower

        trunk, patch = runtime_tower(resolve_encoder(native))
    with publish(out, "model", config, {}, seed) as work:
        model, processor = swapping.swap(
            source, dim, fingerprint, tokens_per_item, seed=seed, patch=patch, content_dim=content_dim, layers=layers,
            pretrained=pretrained,
        )  # fmt: skip
        if trunk is not None:
            model.model.visual.trunk.load_state_dict(trunk)
        model.save_pretrained(work.path)
        processor.save_pretrained(work.path)
        millions = sum(p.numel() for p in model.model.visual.parameters()) / 1e6
        work.metrics = {"tower_parameters_m": round(millions, 2), "tokens_per_item": processor.tokens_per_item}
    return {"out": str(out), "unchanged": False, "backbone": backbone, "dim": dim, **work.metrics}


def index(vectors: Path, out: Path, kind: Literal["flat", "ivf", "hnsw"] = "flat") -> dict[str, Any]:
    """Build the FAISS index of a vector store.

    Args:
        vectors: store of item vectors.
        out: where the index goes.
        kind: flat is exact; ivf and hnsw are approximate and faster on large catalogues.
    """
    from navigator.index import write_index

    return write_index(vectors, out, kind)


def search(
    index: Path, text: str | None = None, image: Path | None = None, item: str | None = None, encoder: str = "embedded",
    catalog: Path | None = None, k: int = 10, sheet: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Find items by words, by a picture, or by an item of the catalogue.

    Args:
        index: index folder (navigator index).
        text: words to search for.
        image: a picture file to search with.
        item: an item id: finds its neighbours, itself excluded.
        encoder: what encodes words and pictures; must be the one that made the indexed vectors.
        catalog: where titles and pictures come from.
        k: how many results.
        sheet: write a contact sheet (query row, result row) to this PNG; needs --catalog.
    """
    from navigator.answer_sheet import draw_answer, titles_of
    from navigator.index import ItemIndex

    if sum(given is not None for given in (text, image, item)) != 1:
        raise UserError('give exactly one of "TEXT", --image FILE and --item ID')
    opened = ItemIndex.open(index)
    if item is not None:
        found = opened.search(opened.vector(item)[None], k, [{item}])[0]
        shown, title = [item], f"neighbours of {item}"
    else:
        query = _encode_query(text, image, encoder, opened.manifest.config["content_encoder"])
        found = opened.search_content(query, k)[0]
        shown, title = [], text or str(image)
    titles = {} if catalog is None else titles_of(Catalog.open(catalog))
    results = [{"item": i, "score": round(score, 4), "title": titles.get(i, "")} for i, score in found]
    lines = [title, *(f"{n:3}  {r['score']:.4f}  {r['item']}  {r['title']}" for n, r in enumerate(results, 1))]
    answer: dict[str, Any] = {"query": title, "results": results}
    if sheet is not None:
        if catalog is None:
            raise UserError("--sheet needs --catalog, where the pictures are")
        answer["sheet"] = draw_answer(Catalog.open(catalog), sheet, title, shown, [r["item"] for r in results], image)
        lines.append(f"contact sheet: {sheet}")
    return answer | {"text": "\n".join(lines)}


def _encode_query(text: str | None, image: Path | None, encoder: str, needed: str) -> Any:
    from encoders.load import load_encoder
    from encoders.pictures import UnreadablePictureError
    from navigator.encode_commands import resolve_encoder

    loaded = load_encoder(resolve_encoder(encoder))
    if loaded.fingerprint != needed:
        raise UserError(
            f"the index holds vectors of encoder {needed}, but {encoder!r} is {loaded.fingerprint}; give --encoder the "
            "one they were embedded with (encoder_name in the manifest.json of the vectors)"
        )
    if text is not None:
        return loaded.encode_texts([text])
    if image is None or not image.is_file():
        raise UserError(f"picture {image} does not exist; give a PNG, JPEG or WebP file")
    try:
        return loaded.encode_pictures([image.read_bytes()])
    except UnreadablePictureError as error:
        raise UserError(f"picture {image} cannot be read ({error}); give a PNG, JPEG or WebP file") from error
