"""The preference loss by hand and against TRL's own trainer."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from prefer_worlds import needs_trl, trl_loss
from train.prefer.objective import pair_log_probs


@needs_trl
def test_the_loss_is_the_one_of_the_paper_by_hand():
    """Two pairs; the normaliser cancels, so only differences of scores appear."""
    model = torch.nn.Identity()
    scores, before, temperature, beta = [[0.5, 0.3], [0.1, 0.4]], [[0.4, 0.4], [0.2, 0.1]], 0.05, 0.3
    loss = trl_loss(model, beta=beta)
    logits = torch.tensor(scores) / temperature
    found = loss.loss(logits, pair_log_probs(torch.tensor(before) / temperature))
    margins = [beta * ((s[0] - s[1]) - (b[0] - b[1])) / temperature for s, b in zip(scores, before, strict=True)]
    assert float(found) == pytest.approx(np.mean([math.log(1 + math.exp(-m)) for m in margins]), abs=1e-5)
    rewards = loss.drain("train")
    assert rewards["rewards/margins"] == pytest.approx(np.mean(margins), abs=1e-4)
    assert rewards["rewards/accuracies"] == 0.5 and loss.drain("train") == {}
    # a constant added to both scores of a request changes nothing: it is part of Z(x)
    shifted = loss.loss(logits + torch.tensor([[3.0], [-7.0]]), pair_log_probs(torch.tensor(before) / temperature))
    assert float(shifted) == pytest.approx(float(found), abs=1e-5)


@needs_trl
@pytest.mark.parametrize(
    ("name", "smoothing", "oracle"),
    [
        ("hinge", 0.0, lambda m, b: max(0.0, 1 - b * m)),
        ("ipo", 0.0, lambda m, b: (m - 1 / (2 * b)) ** 2),
        (
            "robust",
            0.1,
            lambda m, b: (0.9 * math.log(1 + math.exp(-b * m)) - 0.1 * math.log(1 + math.exp(b * m))) / 0.8,
        ),
    ],
)
def test_other_losses_by_hand(name, smoothing, oracle):
    logits = torch.tensor([[1.0, -1.0], [0.2, 0.9], [2.0, 0.5]])
    reference = pair_log_probs(torch.tensor([[0.3, 0.1], [0.0, 0.0], [1.0, 0.8]]))
    margins = [(a - b) - (c - d) for (a, b), (c, d) in zip(logits.tolist(), reference.tolist(), strict=True)]
    found = trl_loss(torch.nn.Identity(), loss=name, beta=0.5, label_smoothing=smoothing).loss(logits, reference)
    assert float(found) == pytest.approx(np.mean([oracle(m, 0.5) for m in margins]), abs=1e-5)


@needs_trl
@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "robust", "exo_pair"])
def test_the_loss_equals_trls_own_trainer_on_the_same_log_probabilities(name, stock, tmp_path):
    """The whole DPOTrainer, made TRL's way, is asked for its loss; only the model's answer is put in its mouth."""
    from datasets import Dataset
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from train.prefer.trainer import _sequences

    torch.manual_seed(0)
    logits, before = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2)
    small: dict[str, Any] = dict(
        vocab_size=64, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = Qwen2ForCausalLM(Qwen2Config(**small, num_key_value_heads=1))
    smoothing = 0.1 if name in ("robust", "exo_pair") else 0.0
    arguments = DPOConfig(
        str(tmp_path), loss_type=[name], beta=0.4, label_smoothing=smoothing, report_to="none", use_cpu=True, bf16=False
    )
    data = Dataset.from_dict({"prompt": ["red"], "chosen": [" cat"], "rejected": [" flag"]})
    whole = DPOTrainer(
        model,
        model.__class__(model.config),
        arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(stock),
    )
    answer, rows = _sequences(logits), torch.ones(10, 2, dtype=torch.long)
    completion = rows * torch.tensor([0, 1])
    reference = _sequences(before)
    whole.ref_model = lambda **_: reference  # type: ignore[assignment]
    batch = {"input_ids": rows, "attention_mask": rows, "completion_mask": completion}
    theirs: Any = whole.compute_loss(lambda **_: answer, batch)  # type: ignore[arg-type]
    ours_model = trl_loss(torch.nn.Identity(), loss=name, beta=0.4, label_smoothing=smoothing)
    ours = ours_model.loss(logits, pair_log_probs(before))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    means = {key: sum(v) / len(v) for key, v in whole._metrics["train"].items() if key.startswith("rewards/")}
    assert ours_model.drain("train") == pytest.approx(means)
    (gradient,) = torch.autograd.grad(ours, logits)
    assert gradient.abs().sum() > 0 and torch.allclose(gradient.sum(1), torch.zeros(5), atol=1e-6)
