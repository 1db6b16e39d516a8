"""What a training run leaves behind: its course over the epochs, and the weights of its best epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

__all__ = ["BestWeights", "History"]


@dataclass
class History:
    """What happened in one call of :func:`fit`.

    Attributes:
        train_loss: mean objective per epoch, in nats for the losses of this package.
        validation_accuracy: per epoch, share in [0, 1]; empty without a validation set.
        stopped: why training ended: ``"finished"``, ``"patience"``, ``"interrupted"`` or ``"diverged"``.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    stopped: str = "finished"

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.train_loss)

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 0) with the best validation accuracy, the first of equals; None without validation."""
        if not self.validation_accuracy:
            return None
        return max(range(len(self.validation_accuracy)), key=self.validation_accuracy.__getitem__)


class BestWeights:
    """Keeps the weights of the best epoch when ``patience`` asks for it."""

    def __init__(self, model: nn.Module, patience: int | None) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}")
        self.model, self.patience = model, patience
        self.state: dict[str, Tensor] | None = None

    def is_spent(self, history: History) -> bool:
        """Note the weights if this epoch is the best so far; tell whether patience has run out."""
        if self.patience is None:
            return False
        last, best = history.epochs - 1, history.best_epoch
        if best == last:
            self.state = {name: value.clone() for name, value in self.model.state_dict().items()}
        return best is not None and last - best >= self.patience

    def restore(self) -> None:
        """Go back to the best weights, if any were noted."""
        if self.state is not None:
            self.model.load_state_dict(self.state)
