"""What the preference stage learns by: the loss, its strength, which score is the policy."""

from dataclasses import dataclass

from navigator.contracts import UserError

LOSSES = ("sigmoid", "hinge", "ipo", "robust", "exo_pair")
SCORES = ("rank", "retrieve")
NEGATIVES = ("auto", "shown", "hard", "none")


@dataclass(frozen=True)
class PreferConfig:
    """The objective.

    Attributes:
        loss: TRL's name of the loss: sigmoid (DPO), hinge, ipo, robust or exo_pair. The others weigh a chosen item by
            itself, for which the policy's normaliser over all items would be needed.
        beta: how strongly the policy is held to the model it started from; smaller lets it go further.
        label_smoothing: share of pairs believed to be the wrong way round; robust and exo_pair alone read it.
        temperature: log-probabilities are scores / temperature, as in train.posttrain.
        score: the policy's score of an item: rank (one pass over history and candidates) or retrieve (query by item).
        max_history: items shown at most.
    """

    loss: str = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    temperature: float = 0.05
    score: str = "rank"
    max_history: int = 20

    def check(self) -> None:
        """Raises UserError for a value that is not allowed."""
        if self.loss not in LOSSES:
            raise UserError(f"objective.loss {self.loss!r}; allowed are {', '.join(LOSSES)}")
        if self.score not in SCORES:
            raise UserError(f"objective.score {self.score!r}; allowed are {', '.join(SCORES)}")
        if self.beta <= 0 or self.temperature <= 0 or self.max_history < 1:
            raise UserError(
                f"objective.beta {self.beta}, temperature {self.temperature}, max_history {self.max_history}: "
                "allowed are numbers above 0, above 0, and 1 or more"
            )
        low = 0.0 if self.loss == "robust" else 1e-6
        if self.loss in ("robust", "exo_pair") and not low <= self.label_smoothing < 0.5:
            raise UserError(
                f"objective.label_smoothing {self.label_smoothing} with loss {self.loss}: allowed is "
                f"{'0 or more' if low == 0 else 'more than 0'} and below 0.5, such as 0.1"
            )
        if self.loss not in ("robust", "exo_pair") and self.label_smoothing:
            raise UserError(
                f"loss {self.loss} does not read objective.label_smoothing; use robust or exo_pair, or leave it"
            )
