"""Scores that ask the data: closed forms, brute force, and a model that is left as it was."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.models import MLP, SmallCNN, TextEncoder
from kdlab.pruning import apply_mask, magnitude_mask, magnitudes, obd_saliency, prunable, score_mask, wanda_scores
from kdlab.training import seeded


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _labels(count: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def _linear(n: int, m: int, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    with seeded(seed):
        return nn.Linear(n, m, bias=bias).double()


def _cnn(seed: int = 0) -> SmallCNN:
    with seeded(seed):
        model = SmallCNN(width=3, num_classes=4, norm=True).double()
        model(torch.randn(20, 1, 8, 8).double())  # moves the statistics away from 0 and 1
        return model


class Residual(nn.Module):
    """One layer that runs twice, one that a switch leaves out."""

    def __init__(self, *, skip: bool = False) -> None:
        super().__init__()
        with seeded(0):
            self.twice, self.last, self.other = (nn.Linear(4, 4).double() for _ in range(3))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.twice(x))
        x = x + self.twice(x)
        return self.last(x) if self.skip else self.other(self.last(x))


def _snapshot(model: nn.Module) -> list[object]:
    tensors = [value.clone() for value in model.state_dict().values()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [part.training for part in model.modules()]
    hooks = [len(part._forward_hooks) for part in model.modules()]
    return [tensors, gradients, modes, hooks, [p.requires_grad for p in model.parameters()]]


def _assert_same(one: object, other: object) -> None:
    assert isinstance(other, type(one))
    if isinstance(one, list):
        assert len(one) == len(other)  # type: ignore[arg-type]
        for a, b in zip(one, other, strict=True):  # type: ignore[call-overload]
            _assert_same(a, b)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)  # type: ignore[arg-type]
    else:
        assert one == other


def _brute_force(model: nn.Module, images: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    """One backward pass for each sample and class."""
    model.eval()
    weights = prunable(model)
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for row, image in enumerate(images):
        logits = model(image[None])[0]
        for label in range(len(logits)) if labels is None else [int(labels[row])]:
            share = float(logits.softmax(0)[label].detach()) if labels is None else 1.0
            loss = F.cross_entropy(logits[None], torch.tensor([label]))
            for name, gradient in zip(
                weights, torch.autograd.grad(loss, weights.values(), retain_graph=True), strict=True
            ):
                found[name] += share * gradient.square()
    return {name: 0.5 * found[name] / len(images) * weights[name].detach().square() for name in weights}


def _assert_scores(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, score in found.items():
        assert not score.requires_grad
        assert_close(score, expected[name], msg=lambda text, name=name: f"{name}: {text}")


# --- magnitudes -------------------------------------------------------------------------------------------------------


def test_pruning_by_magnitudes_as_scores_is_pruning_by_magnitude() -> None:
    model = _cnn()
    for scope in ("global", "layer", "row"):
        masks = score_mask(magnitudes(model), 0.6, scope=scope)
        expected = magnitude_mask(model, 0.6, scope=scope)
        assert list(masks) == list(expected)
        assert all(torch.equal(masks[name], expected[name]) for name in masks)


# --- optimal brain damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 64, 65, 200])
def test_the_fisher_of_a_softmax_regression_has_a_closed_form(count: int) -> None:
    layer, x = _linear(5, 3), _randn(count, 5)
    p = layer(x).softmax(1).detach()
    fisher = torch.einsum("nk,nj->kj", p * (1 - p), x.square()) / count
    _assert_scores(obd_saliency(layer, x), {"weight": 0.5 * fisher * layer.weight.detach().square()})


@pytest.mark.parametrize("count", [1, 7, 64, 65, 200])
def test_the_empirical_fisher_of_a_softmax_regression_has_a_closed_form(count: int) -> None:
    layer, x, labels = _linear(5, 3), _randn(count, 5), _labels(count, 3)
    error = layer(x).softmax(1).detach() - F.one_hot(labels, 3)
    fisher = torch.einsum("nk,nj->kj", error.square(), x.square()) / count
    _assert_scores(obd_saliency(layer, x, labels), {"weight": 0.5 * fisher * layer.weight.detach().square()})


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "make", [_cnn, lambda: MLP(64, (6,), 4).double(), lambda: nn.Sequential(nn.Flatten(), _tied())]
)
def test_scores_are_those_of_one_backward_pass_per_sample_and_class(known: bool, make: Callable[[], nn.Module]) -> None:
    model, images = make(), _randn(9, 1, 8, 8)
    labels = _labels(9, 4) if known else None
    _assert_scores(obd_saliency(model, images, labels), _brute_force(model, images, labels))


def _tied() -> nn.Sequential:
    layers = nn.Sequential(_linear(64, 64), nn.Tanh(), _linear(64, 64), nn.Tanh(), _linear(64, 4))
    layers[2].weight = layers[0].weight
    return layers


def test_scores_of_a_text_encoder_are_those_of_one_backward_pass_each() -> None:
    with seeded(0):
        model = TextEncoder(20, width=8, layers=1, heads=2, hidden=12, num_classes=3).double()
    ids = torch.randint(1, 20, (6, 5), generator=torch.Generator().manual_seed(0))
    ids[2, 3:] = 0
    _assert_scores(obd_saliency(model, ids), _brute_force(model, ids, None))


@pytest.mark.parametrize("known", [False, True])
def test_many_samples_score_the_mean_of_their_parts(known: bool) -> None:
    model, images, labels = _cnn(), _randn(150, 1, 8, 8), _labels(150, 4)
    whole = obd_saliency(model, images, labels if known else None)
    parts = [obd_saliency(model, images[r], labels[r] if known else None) for r in torch.arange(150).split(30)]
    _assert_scores(whole, {name: sum(part[name] for part in parts) / 5 for name in whole})


def test_the_fisher_is_what_labels_drawn_from_the_model_give_on_average() -> None:
    layer, x = _linear(4, 3), _randn(1, 4)
    p = layer(x).softmax(1).detach()[0]
    mean = sum(p[k] * obd_saliency(layer, x, torch.tensor([k]))["weight"] for k in range(3))
    assert_close(obd_saliency(layer, x)["weight"], mean)


def test_labels_learned_by_heart_leave_the_empirical_fisher_nothing() -> None:
    layer, x = _linear(3, 3, bias=False), torch.eye(3, dtype=torch.float64)
    layer.weight.data = 30 * torch.eye(3, dtype=torch.float64)
    by_labels = obd_saliency(layer, x, torch.arange(3))["weight"]
    assert float(by_labels.max()) < 1e-20
    assert float(obd_saliency(layer, x)["weight"].max()) > 1e6 * float(by_labels.max())


def test_a_small_weight_on_a_loud_input_is_worth_more_than_a_large_one_on_a_quiet_input() -> None:
    x = _randn(200, 2) * torch.tensor([10.0, 0.01], dtype=torch.float64)
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([[0.2, 1.0], [-0.2, -1.0]], dtype=torch.float64)
    by_size = magnitude_mask(layer, 0.5)["weight"]
    by_loss = score_mask(obd_saliency(layer, x), 0.5)["weight"]
    by_input = score_mask(wanda_scores(layer, x), 0.5, scope="row")["weight"]
    assert by_size.tolist() == [[False, True], [False, True]]
    assert by_loss.tolist() == by_input.tolist() == [[True, False], [True, False]]


def test_obd_ranks_weights_by_the_rise_of_the_loss_where_the_loss_is_quadratic() -> None:
    """Near zero logits of two classes the loss is quadratic in independent inputs, and its minimum is known."""
    x = torch.cat(
        [scale * torch.eye(4, dtype=torch.float64)[j : j + 1] for j, scale in enumerate((8.0, 4.0, 2.0, 1.0))]
    )
    layer = nn.Linear(4, 2, bias=False).double()
    layer.weight.data = 1e-2 * torch.tensor([[0.2, 0.3, 0.5, 0.8], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    target = layer(x).softmax(1).detach()  # the minimum: the labels' distribution is the model's

    def loss() -> float:
        return F.cross_entropy(layer(x), target).item()

    scores, start = obd_saliency(layer, x)["weight"][0], loss()
    rises = []
    for column in range(4):
        kept = layer.weight.data.clone()
        layer.weight.data[0, column] = 0
        rises.append(loss() - start)
        layer.weight.data = kept
    assert_close(scores, torch.tensor(rises, dtype=torch.float64), rtol=2e-2, atol=0)
    assert scores.argsort().tolist() != layer.weight.data[0].abs().argsort().tolist()
    assert scores.argsort().tolist() == torch.tensor(rises).argsort().tolist()


@pytest.mark.parametrize("score", [obd_saliency, wanda_scores])
def test_scoring_leaves_the_model_as_it_was(score: Callable[..., dict[str, Tensor]]) -> None:
    model, images = _cnn().train(), _randn(10, 1, 8, 8)
    model.features[1].eval()  # frozen on purpose
    model.features[0].weight.requires_grad_(False)
    F.cross_entropy(model(images), _labels(10, 4)).backward()
    before = _snapshot(model)
    scores = score(model, images)
    _assert_same(before, _snapshot(model))
    assert "features.0.weight" in scores
    assert all((value >= 0).all() and value.shape == prunable(model)[name].shape for name, value in scores.items())


@pytest.mark.parametrize("score", [obd_saliency, wanda_scores])
def test_a_model_is_asked_in_evaluation_mode(score: Callable[..., dict[str, Tensor]]) -> None:
    model, images = _cnn(), _randn(10, 1, 8, 8)
    _assert_scores(score(model.train(), images), score(model.eval(), images))


def test_a_pruned_weight_scores_nothing() -> None:
    model, images = _cnn(), _randn(10, 1, 8, 8)
    masks = magnitude_mask(model, 0.5)
    apply_mask(model, masks)
    for scores in (obd_saliency(model, images), wanda_scores(model, images)):
        assert all((scores[name][~mask] == 0).all() for name, mask in masks.items())


@pytest.mark.parametrize(
    ("words", "images", "labels"),
    [
        (r"at least one sample.*got 0 and no labels", torch.zeros(0, 5), None),
        (r"labels one for each, got 4 and 3 labels", torch.zeros(4, 5), torch.zeros(3, dtype=torch.int64)),
        (r"labels must lie in 0 to 2, got 1 to 3", torch.zeros(2, 5), torch.tensor([1, 3])),
        (r"labels must lie in 0 to 2, got -100 to 1", torch.zeros(2, 5), torch.tensor([1, -100])),
        (r"class indices \(N,\), got torch.float32 of shape \[2, 3\]", torch.zeros(2, 5), torch.zeros(2, 3)),
        (r"class indices \(N,\), got torch.int64 of shape \[2, 1\]", torch.zeros(2, 5), torch.tensor([[0], [1]])),
    ],
)
def test_obd_refuses_samples_and_labels_that_do_not_fit(words: str, images: Tensor, labels: Tensor | None) -> None:
    layer = _linear(5, 3).float()
    before = _snapshot(layer)
    with pytest.raises(ValueError, match=words):
        obd_saliency(layer, images, labels)
    _assert_same(before, _snapshot(layer))


@pytest.mark.parametrize("score", [obd_saliency, wanda_scores, lambda model, images: magnitudes(model)])
def test_a_model_without_layers_is_refused(score: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="Flatten holds no linear or convolution layer"):
        score(nn.Flatten(), torch.zeros(2, 3))


@pytest.mark.parametrize("score", [obd_saliency, wanda_scores])
def test_scores_of_a_diverged_model_make_no_mask(score: Callable[..., dict[str, Tensor]]) -> None:
    model = _linear(4, 3)
    model.weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"'weight' holds NaN.*diverge"):
        score_mask(score(model, _randn(5, 4)), 0.5)


# --- weights and activations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 5), (4, 3, 5), (2, 3, 2, 5), (1, 5)])
def test_a_linear_layers_score_is_weight_times_the_inputs_length(shape: tuple[int, ...]) -> None:
    layer, x = _linear(5, 3), _randn(*shape)
    length = torch.linalg.vector_norm(x.reshape(-1, 5), dim=0)
    _assert_scores(wanda_scores(layer, x), {"weight": layer.weight.detach().abs() * length})


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "padding": (2, 1), "stride": (1, 2)},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": (2, 3), "dilation": (3, 2), "padding": 2, "stride": 2},
    {"kernel_size": 1, "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("count", [1, 4])
def test_a_convolutions_score_is_that_of_the_linear_layer_on_its_patches(options: dict, count: int) -> None:
    with seeded(0):
        layer = nn.Conv2d(2, 3, **options).double()
    x = _randn(count, 2, 9, 8)
    patches = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (N, C kh kw, positions)
    rows = patches.transpose(1, 2).reshape(-1, patches.shape[1])
    output = rows @ layer.weight.detach().flatten(1).T + (0 if layer.bias is None else layer.bias.detach())
    assert_close(output, layer(x).detach().flatten(2).transpose(1, 2).reshape(-1, 3))  # these are its patches
    length = torch.linalg.vector_norm(rows, dim=0).view(1, *layer.weight.shape[1:])
    _assert_scores(wanda_scores(layer, x), {"weight": layer.weight.detach().abs() * length})
    if count == 1:
        _assert_scores(wanda_scores(layer, x[0]), {"weight": layer.weight.detach().abs() * length})


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("padding", ["same", 1])
def test_however_a_convolution_pads_its_inputs_are_the_padded_ones(mode: str, padding: str | int) -> None:
    with seeded(0):
        layer, bare = (nn.Conv2d(2, 3, 3, padding=one, padding_mode=mode).double() for one in (padding, 0))
    bare.load_state_dict(layer.state_dict())
    x = _randn(4, 2, 9, 8)
    around = F.pad(x, (1, 1, 1, 1), mode="constant" if mode == "zeros" else mode)
    assert_close(layer(x), bare(around))
    _assert_scores(wanda_scores(layer, x), wanda_scores(bare, around))


def test_scores_grow_with_the_samples_as_lengths_do() -> None:
    model, images = _cnn(), _randn(6, 1, 8, 8)
    parts = [wanda_scores(model, images[rows]) for rows in torch.arange(6).split(2)]
    together = {name: sum(part[name].square() for part in parts).sqrt() for name in parts[0]}
    _assert_scores(wanda_scores(model, images), together)


def test_inputs_are_those_that_reach_the_layer() -> None:
    model, images = _cnn(), _randn(6, 1, 8, 8)
    with torch.no_grad():
        hidden = model.eval().classifier[:4](model.features(images))
    expected = model.classifier[4].weight.detach().abs() * torch.linalg.vector_norm(hidden, dim=0)
    assert_close(wanda_scores(model, images)["classifier.4.weight"], expected)


def test_calls_of_one_layer_add_up() -> None:
    model, x = Residual(), _randn(7, 4)
    inputs = torch.cat([x, torch.tanh(model.twice(x)).detach()])
    expected = model.twice.weight.detach().abs() * torch.linalg.vector_norm(inputs, dim=0)
    assert_close(wanda_scores(model, x)["twice.weight"], expected)


def test_layers_that_share_a_weight_share_its_inputs() -> None:
    model, x = _tied(), _randn(5, 64)
    scores = wanda_scores(model, x)
    assert list(scores) == ["0.weight", "4.weight"]
    inputs = torch.cat([x, torch.tanh(model[0](x)).detach()])
    assert_close(scores["0.weight"], model[0].weight.detach().abs() * torch.linalg.vector_norm(inputs, dim=0))


def test_an_embedding_that_shares_its_weight_with_a_layer_is_no_input() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(6, 3)
            self.head = nn.Linear(3, 6, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.tokens(ids))

    model, ids = Language().double(), torch.tensor([0, 3, 3])
    length = torch.linalg.vector_norm(model.tokens(ids).detach(), dim=0)
    _assert_scores(wanda_scores(model, ids), {"head.weight": model.head.weight.detach().abs() * length})


def test_a_layer_that_did_not_run_is_named() -> None:
    model = Residual(skip=True)
    before = _snapshot(model)
    with pytest.raises(ValueError, match=r"did not run.*: other.weight$"):
        wanda_scores(model, _randn(3, 4))
    _assert_same(before, _snapshot(model))


@pytest.mark.parametrize(
    ("words", "layer"),
    [
        (r"^0 is Conv2d.*groups=2.*without groups", nn.Conv2d(2, 4, 3, groups=2)),
        (r"^0 is Conv1d.*Linear and for Conv2d", nn.Conv1d(2, 4, 3)),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_layers_whose_inputs_are_unknown_are_refused_and_no_hook_stays(
    words: str, layer: nn.Module, place: int
) -> None:
    layers = [layer, nn.Conv2d(4, 4, 1)] if place == 0 else [nn.Conv2d(2, 2, 1), layer]
    model = nn.Sequential(*layers)
    before = _snapshot(model)
    with pytest.raises(ValueError, match=words.replace("^0", f"^{place}")):
        wanda_scores(model, torch.zeros(3, 2, 8, 8))
    _assert_same(before, _snapshot(model))


def test_no_hook_stays_and_modes_come_back_if_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(5, 2)).train()
    before = _snapshot(model)
    for score in (wanda_scores, obd_saliency):
        with pytest.raises(RuntimeError):
            score(model, torch.zeros(2, 4))
        _assert_same(before, _snapshot(model))
