"""Direct preference optimisation over items: TRL's loss and metrics, driven by this project's own loop.

The policy is a distribution over items, given a request x: pi(i | x) = exp(s(x, i) / T) / Z(x), with s the model's score of
item i and T the temperature. Rafailov et al. (2023, eq. 7) minimise, for a chosen item w and a rejected item l,

    -log sigmoid( beta * [ log pi(w|x) / ref(w|x)  -  log pi(l|x) / ref(l|x) ] )

where ref is the model before. Z(x) and Z_ref(x) occur once with either sign and cancel:

    log pi(w|x) - log pi(l|x) = (s(x, w) - s(x, l)) / T

so that no sum over the catalogue is needed and any policy with the same score differences will do. TRL is given the policy
restricted to the two items of the pair, softmax([s(x, w), s(x, l)] / T): its log-probabilities are true ones, so TRL's rewards,
accuracies and entropy mean what they say, for the choice between these two. Losses that look at a chosen item alone would need
Z(x), and are not offered (train.prefer.config.LOSSES).

What is TRL's here is `DPOTrainer._compute_loss`, which is all of its loss types and metrics, with reference log-probabilities
given beforehand (TRL's precompute_ref_log_probs). What is not used is the Trainer around it: it prepares, tokenises and pads
text, patches the model's forward to score the next token of a vocabulary (an item is a vector here, and both items of a pair
are scored in one pass), saves optimiser and generator states as pickles, which nothing in this project does, sends a message
over the network when it is made, and knows neither learning rates by part nor a best checkpoint by NDCG with the start among
the candidates. train.loop has these.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from trl.trainer.dpo_trainer import DPOTrainer

from train.prefer.config import PreferConfig
from train.prefer.objective import pair_log_probs


class _Alone:
    """Accelerate's gathering for one process: metrics are of a process's own share, so that one may measure alone."""

    def __init__(self, device: torch.device):
        self.device = device

    @staticmethod
    def gather(values: torch.Tensor) -> torch.Tensor:
        return values

    gather_for_metrics = gather


class ItemDPO(DPOTrainer):
    """TRL's loss of pairs of items.

    Args:
        model: what learns; only whether it is in training mode is read of it.
        config: loss, beta and label smoothing.
        device: where the log-probabilities are.
    """

    def __init__(self, model: nn.Module, config: PreferConfig, device: torch.device):
        # Not super().__init__, see above. These are what `_compute_loss` reads, at TRL's defaults where config has no say.
        self.model: Any = model
        self.accelerator: Any = _Alone(device)
        self.loss_types, self.loss_weights = [config.loss], [1.0]
        self.beta, self.label_smoothing = config.beta, config.label_smoothing
        self.precompute_ref_logps = True
        self.f_divergence_type, self.f_alpha_divergence_coef = "reverse_kl", 0.5
        self.ld_alpha, self.use_weighting, self.aux_loss_enabled = None, False, False
        self._total_train_tokens, self._tp_size = 0, 1
        self._metrics: dict[str, dict[str, list[float]]] = {"train": {}, "eval": {}}

    def loss(self, logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Mean loss of N pairs; TRL's metrics of them are kept until `drain`.

        Args:
            logits: (N, 2) scores / temperature of the chosen and the rejected item.
            reference: (N, 2) log-probabilities of the model before, `pair_log_probs` of its logits.
        """
        mode = "train" if self.model.training else "eval"
        names = ("entropy", "logits/chosen", "logits/rejected", "mean_token_accuracy", "aux_loss", "num_tokens")
        names += tuple(f"{kind}/{item}" for kind in ("rewards", "logps") for item in ("chosen", "rejected"))
        for name in (*names, "rewards/accuracies", "rewards/margins"):
            self._metrics[mode].setdefault(name, [])
        # TRL's batch: N chosen and N rejected sequences of a prompt token and one completion token each.
        rows = torch.ones(2 * len(logits), 2, dtype=torch.long, device=logits.device)
        completion = rows * torch.tensor([0, 1], device=logits.device)
        inputs = {
            "input_ids": rows, "attention_mask": rows, "completion_mask": completion,
            "ref_chosen_logps": reference[:, 0], "ref_rejected_logps": reference[:, 1],
        }  # fmt: skip
        answer = _sequences(logits)
        return self._compute_loss(lambda **_: answer, inputs, False)

    def drain(self, mode: str) -> dict[str, float]:
        """Means of TRL's rewards/chosen, /rejected, /accuracies and /margins since the last call, mode train or eval."""
        metrics = self._metrics[mode]
        means = {n: sum(values) / len(values) for n, values in metrics.items() if n.startswith("rewards/") and values}
        metrics.clear()
        return means


def _sequences(logits: torch.Tensor) -> SimpleNamespace:
    """What TRL reads of a model's answer: per-token figures, (2N, 1), the chosen ones first."""
    log_probs = pair_log_probs(logits)
    entropy = -(log_probs.exp() * log_probs).sum(1, keepdim=True).expand(-1, 2)
    first = (log_probs >= log_probs.flip(1)).detach()
    columns = {"log_probs": log_probs, "entropy": entropy, "mean_logits": logits.detach(), "is_top1": first}
    return SimpleNamespace(**{name: torch.cat([value[:, :1], value[:, 1:]]) for name, value in columns.items()})
