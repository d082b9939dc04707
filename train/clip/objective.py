"""From a batch to the sum of its losses; the module that accelerate wraps."""

import torch
from torch import nn
from torch.nn import functional as F

from encoders.fusion import GatedFusion
from encoders.load import Encoder
from navigator.contracts import UserError
from train.checkpoint import Named
from train.clip.config import ClipConfig
from train.clip.draw import ClipBatch, Inputs
from train.clip.gather import gather_rows
from train.clip.loss_negatives import hard_negative_loss
from train.clip.loss_neighbours import neighbour_loss
from train.clip.loss_picture_text import picture_text_loss
from train.clip.loss_stay import stay_loss
from train.clip.matryoshka import matryoshka
from train.clip.pictures import from_bytes
from train.clip.towers import Towers


class ClipObjective(nn.Module):
    """forward(batch, start, stop): the summed loss of the anchors start..stop of the global batch.

    The vectors of all processes are gathered with their gradients, so that every anchor meets every other process's items.
    """

    def __init__(self, encoder: Encoder, towers: Towers, config: ClipConfig):
        super().__init__()
        wide = [k for k in config.prefixes if not 0 <= k <= encoder.dim]
        if wide or not config.prefixes:
            raise UserError(
                f"prefixes {list(config.prefixes)}: allowed are 1 to {encoder.dim}, and 0 for all dimensions"
            )
        self.encoder, self.towers, self.config = encoder, towers, config
        self.gate = GatedFusion(encoder.dim)
        if encoder.gate is not None and config.fusion:  # tuned before
            self.gate.load_state_dict(encoder.gate.state_dict())
        self.scales = nn.ParameterDict()
        for name in ("picture_text", "neighbours"):
            self.scales[f"{name}_scale"] = nn.Parameter(torch.tensor(config.scale).log())
            self.scales[f"{name}_bias"] = nn.Parameter(torch.tensor(config.bias))
        self.to(encoder.device)

    def parts(self) -> dict[str, Named]:
        """What learns, by part, for the learning rates; the towers' parts come first."""
        towers = self.towers.parameters_by_part()
        found = {part: {f"towers.model.{n}": p for n, p in named.items()} for part, named in towers.items()}
        self.gate.requires_grad_(self.config.fusion)
        found["fusion"] = {f"gate.{n}": p for n, p in self.gate.named_parameters()} if self.config.fusion else {}
        found["scales"] = {f"scales.{n}": p for n, p in self.scales.items()}
        return found

    def rotate(self, basis: torch.Tensor) -> bool:
        """Turn the joint space, and the gate with it; see Towers.rotate."""
        rotated = self.towers.rotate(basis)
        if rotated:
            with torch.no_grad():
                self.gate.content.copy_(self.gate.content @ basis.T)
        return rotated

    def forward(self, batch: ClipBatch, start: int, stop: int) -> torch.Tensor:
        config, device = self.config, self.encoder.device
        together, text_ids, weights = (x.to(device) for x in (batch.together, batch.text_ids, batch.weights))
        anchors, has_anchor = self.part_vectors(batch.anchors)
        items = self.gate(anchors, has_anchor)
        loss = torch.zeros((), device=device)
        if config.picture_text:
            pairs = batch.has_pair.to(device)

            def aligned(pictures: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
                return picture_text_loss(pictures, texts, start, *self._scale("picture_text"), text_ids, pairs, weights)

            losses = matryoshka(aligned, config.prefixes, anchors[:, 0], gather_rows(anchors[:, 1]))
            loss = loss + config.picture_text * losses.sum()
        if config.neighbours:
            near = gather_rows(self.gate(*self.part_vectors(batch.neighbours)))
            found = batch.has_neighbour.to(device)

            def close(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
                return neighbour_loss(rows, columns, start, *self._scale("neighbours"), together, found, weights)

            loss = loss + config.neighbours * matryoshka(close, config.prefixes, items, near).sum()
            if batch.negatives is not None:
                loss = loss + config.neighbours * (self._hard(items, batch) * weights[start:stop]).sum()
        if batch.before is not None:
            before = batch.before.to(device)
            loss = loss + config.stay * stay_loss(items, gather_rows(items), before[start:stop], before).sum()
        return loss

    def part_vectors(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """(k, M, D) unit part vectors and (k, M) bool, which of them are shown."""
        device = self.encoder.device
        picture = inputs.picture.to(device)
        if picture.dtype == torch.uint8:
            picture = from_bytes(self.encoder, picture)
        shown = inputs.shown.to(device)
        parts = [self.towers.picture(picture), self._words(inputs.text)]
        titles = torch.zeros_like(parts[1])
        if len(inputs.titles):
            owner, position = inputs.title_of.to(device)
            titles = F.normalize(titles.index_add(0, owner, self._words(inputs.titles)[position]), dim=-1)
        captions = torch.zeros_like(titles) if inputs.captions is None else self._words(inputs.captions)
        return torch.stack([*parts, titles, captions], 1), shown

    def _hard(self, items: torch.Tensor, batch: ClipBatch) -> torch.Tensor:
        assert batch.negatives is not None
        there = batch.negative_there.to(items.device)
        negatives = self.gate(*self.part_vectors(batch.negatives)).view(*there.shape, -1)

        def far(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
            return hard_negative_loss(rows, others, there, *self._scale("neighbours"))

        return matryoshka(far, self.config.prefixes, items, negatives)

    def _words(self, words: torch.Tensor) -> torch.Tensor:
        """Features, or token ids, which lie on disk as int32 -> unit vectors."""
        words = words.to(self.encoder.device)
        return self.towers.text(words if words.is_floating_point() else words.long())

    def _scale(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.scales[f"{name}_scale"].exp().clamp(max=100.0), self.scales[f"{name}_bias"]
