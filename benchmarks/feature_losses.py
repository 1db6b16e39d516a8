"""What the losses on features cost, each beside its paper's formula as most people write it; see kd_losses.py.

``python benchmarks/kd_losses.py`` prints this table after its own. Time and memory are ratios to the plain formula, the
first line of each group. torchdistill's losses stand below where it is installed and takes the shapes: they are brought
to the same divisor (it averages over all values, or over pairs of a sample with itself too), and their column "values"
says whether they then agree.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from measuring import Data, Loss, Route, memory, ratios, say, times, value_and_gradient, verdict
from torch import Tensor, nn

from kdlab.features import (
    Projector,
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_loss,
)

PLAIN = "plain formula"
SHAPES = (
    ((64, 64, 8, 8), (64, 128, 8, 8)),
    ((256, 512), (256, 1024)),
    ((128, 32, 16, 16), (128, 64, 16, 16)),
)
EDGES = 300e6  # bytes; above it the plain formula's differences between all pairs, in several copies, fill a laptop
BARS = {  # on time and memory, in units of the plain formula's
    "hint_loss": (1.2, 1.0),
    "attention_transfer_loss": (2.0, 1.0),  # at a millisecond in all, checks of the input count
    "similarity_loss": (1.2, 1.0),
    "relational_distance_loss": (2.5, 1.2),  # inner products in float64, where the plain formula rounds in float32
    "relational_angle_loss": (1.0, 1.0),
}
NAMES = tuple(BARS)


# --- the papers' formulas, plainly ------------------------------------------------------------------------------------


def plain_attention(s: Tensor, t: Tensor) -> Tensor:
    a, b = (F.normalize(maps.pow(2).sum(1).flatten(1)) for maps in (s, t))
    return (a - b).norm(dim=1).mean()


def plain_similarity(s: Tensor, t: Tensor) -> Tensor:
    a, b = s.flatten(1), t.flatten(1)
    return (F.normalize(a @ a.T) - F.normalize(b @ b.T)).pow(2).mean()


def plain_distance(s: Tensor, t: Tensor) -> Tensor:
    others = ~torch.eye(len(s), dtype=torch.bool)
    a, b = (torch.cdist(rows, rows)[others] for rows in (s.flatten(1), t.flatten(1)))
    return F.smooth_l1_loss(a / a.mean(), b / b.mean())


def plain_angle(s: Tensor, t: Tensor) -> Tensor:
    cosines = []
    for rows in (s.flatten(1), t.flatten(1)):
        edges = F.normalize(rows.unsqueeze(0) - rows.unsqueeze(1), dim=2)
        cosines.append(edges @ edges.transpose(1, 2))
    b = len(s)
    return F.smooth_l1_loss(*cosines, reduction="sum") / (b * (b - 1) * (b - 2))


# --- who takes part ---------------------------------------------------------------------------------------------------


def routes(student: tuple[int, ...], teacher: tuple[int, ...]) -> dict[str, dict[str, Route]]:
    """Per loss that takes these shapes: the plain formula first, then ours, then those of other libraries."""
    maps = len(student) == 4
    projector = Projector(student[1], teacher[1])
    layer = nn.Conv2d(student[1], teacher[1], 1) if maps else nn.Linear(student[1], teacher[1])
    layer.load_state_dict({name: value.view_as(layer.get_parameter(name)) for name, value in
                           zip(("weight", "bias"), projector.linear.parameters(), strict=True)})  # fmt: skip
    plain: dict[str, Loss] = {
        "hint_loss": lambda s, t: 0.5 * (t - layer(s)).pow(2).sum() / len(s),
        "similarity_loss": plain_similarity,
        "relational_distance_loss": plain_distance,
    }
    ours: dict[str, Loss] = {
        "hint_loss": lambda s, t: hint_loss(s, t, projector=projector),
        "attention_transfer_loss": attention_transfer_loss,
        "similarity_loss": similarity_loss,
        "relational_distance_loss": relational_distance_loss,
        "relational_angle_loss": relational_angle_loss,
    }
    if maps:
        plain["attention_transfer_loss"] = plain_attention
    if edges_bytes(teacher) <= EDGES:
        plain["relational_angle_loss"] = plain_angle
    theirs = _torchdistill(student[0], layer)
    return {
        name: {PLAIN: Route(plain[name], same=True), name: Route(ours[name], *BARS[name], same=True)}
        | theirs.get(name, {})
        for name in NAMES
        if name in plain
    }


def edges_bytes(shape: tuple[int, ...]) -> int:
    """Of the differences between all pairs of samples."""
    return 4 * shape[0] ** 2 * torch.Size(shape[1:]).numel()


def _torchdistill(b: int, layer: nn.Module) -> dict[str, dict[str, Route]]:
    try:
        from torchdistill.losses.mid_level import ATLoss, RKDLoss, SimpleLossWrapper, SPKDLoss
    except ImportError:
        return {}
    where = {"is_from_teacher": False, "module_path": "m", "io": "output"}
    mse = SimpleLossWrapper(nn.MSELoss(reduction="sum"), input=where, target={**where, "is_from_teacher": True})
    here = {"path": "m", "io": "output"}
    attention = ATLoss({"pair": {"student": here, "teacher": here}}, mode="paper")
    distance, angle = (RKDLoss("m", "m", *factors, reduction="mean") for factors in ((1, 0), (0, 1)))

    def called(module: nn.Module, factor: float) -> Loss:
        return lambda s, t: factor * module({"m": {"output": s}}, {"m": {"output": t}}, None)

    hint = called(mse, 0.5 / b)
    return {
        "hint_loss": {"torchdistill MSELoss": Route(lambda s, t: hint(layer(s), t))},
        "attention_transfer_loss": {"torchdistill ATLoss": Route(called(attention, 1))},
        "similarity_loss": {"torchdistill SPKDLoss": Route(called(SPKDLoss("m", "m", "batchmean"), 1))},
        "relational_distance_loss": {"torchdistill RKDLoss": Route(called(distance, b / (b - 1)))},
        "relational_angle_loss": {"torchdistill RKDLoss": Route(called(angle, b**2 / ((b - 1) * (b - 2))))},
    }


# --- the table --------------------------------------------------------------------------------------------------------


def batch(student: tuple[int, ...], teacher: tuple[int, ...], seed: int = 0) -> Data:
    """Features as behind a ReLU, which is where most people take them."""
    generator = torch.Generator().manual_seed(seed)
    s, t = (torch.randn(*shape, generator=generator).relu() for shape in (student, teacher))
    return s.requires_grad_(), t


def agrees(loss: Loss, plain: Loss, data: Data) -> bool:
    """In value, and in the gradient to a thousandth of its largest entry: the plain formulas round in float32."""
    (value, gradient), (expected, slope) = (value_and_gradient(one, data) for one in (loss, plain))
    near = torch.allclose(value, expected, rtol=1e-3)
    return near and float((gradient - slope).abs().max()) <= 1e-3 * float(slope.abs().max())


def table(shapes: tuple[tuple[int, ...], tuple[int, ...]], only: Collection[str], budget: float) -> bool:
    """Measure at one pair of shapes and print it; tell whether every bar was met and every value right."""
    data = batch(*shapes)
    groups = {name: group for name, group in routes(*shapes).items() if name in only}
    print(f"\n{list(shapes[0])} against {list(shapes[1])}")
    print(f"{'':<28}{'time':>6}  {'95 % interval':<16}{'memory':>7}  {'values':<9} bar")
    passed = True
    for name, group in groups.items():
        passed &= _group(name, group, data, budget / len(groups))
    if "relational_angle_loss" in only and "relational_angle_loss" not in groups:
        gigabytes = edges_bytes(shapes[1]) / 1e9
        print(
            f"relational_angle_loss: left out, the plain formula's differences take {gigabytes:.1f} GB, several times"
        )
    return passed


def _group(name: str, group: Mapping[str, Route], data: Data, budget: float) -> bool:
    plain, passed = group[PLAIN].loss, True
    peaks = {one: memory(route.loss, data) for one, route in group.items()}
    taken = times({one: route.loss for one, route in group.items()}, data, budget)
    milliseconds = 1000 * statistics.median(taken[PLAIN])
    megabytes = peaks[PLAIN] * data[0].numel() * data[0].element_size() / 1e6
    print(f"{name}, plainly: {milliseconds:.3g} ms, {megabytes:.3g} MB, {len(taken[PLAIN])} rounds")
    for one, route in group.items():
        if one == PLAIN:
            continue
        middle, low, high = ratios(taken, one, PLAIN)
        peak, right = peaks[one] / peaks[PLAIN], agrees(route.loss, plain, data)
        said = verdict(route, high, peak)
        passed &= not said.startswith("MISSED") and say(right or not route.same, one, "differs from the plain formula")
        line = f"  {one:<26}{middle:>6.2f}  {f'{low:.2f} to {high:.2f}':<16}{peak:>7.2f}"
        print(f"{line}  {'agree' if right else 'DIFFER':<9} {said}", flush=True)
    return passed
