"""kdlab: the package behind the course on knowledge distillation and model compression.

Every lesson names the module it is built on, so read those: ``kdlab.losses`` for soft targets and
the distillation loss, ``kdlab.training`` for the one training loop, ``kdlab.experiments`` for fair
comparisons, ``kdlab.measure`` for what models are judged by, ``kdlab.data`` for what they run on.

Submodules and the few names below are imported on first use, so that ``import kdlab`` alone costs
nothing and parts that need no torch (the launcher, the exercise bank) never pay for it.

>>> import kdlab
>>> kdlab.kd_loss is kdlab.losses.kd_loss
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdlab.experiments import compare as compare
    from kdlab.losses import kd_loss as kd_loss
    from kdlab.losses import soft_targets as soft_targets

__version__ = "0.1.0.dev0"

_SUBMODULES = (
    "data",
    "exercises",
    "experiments",
    "features",
    "lab",
    "losses",
    "measure",
    "models",
    "teachers",
    "training",
)
_NAMES = {
    "compare": "kdlab.experiments",
    "kd_loss": "kdlab.losses",
    "soft_targets": "kdlab.losses",
}
__all__ = [*_NAMES, *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'kdlab' has no attribute {name!r}; it has: {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
