"""A tap catches what a layer returned, says when that is no longer so, and leaves no hook behind."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.feature_tap import FeatureTap
from kdlab.models import SmallCNN

IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def _hooks(model: nn.Module) -> int:
    """Hooks of every kind on the model and its parts."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(part, kind)) for part in model.modules() for kind in kinds)


@pytest.fixture
def model() -> SmallCNN:
    return SmallCNN(4, dropout=0.0)


def test_it_catches_what_the_layer_returned(model: SmallCNN) -> None:
    with FeatureTap(model, ["features.1", "features.4", "classifier"]) as tap:
        logits = model(IMAGES)
    assert_close(tap["features.1"], model.features[:2](IMAGES))
    assert_close(tap["features.4"], model.features(IMAGES))
    assert tap["classifier"] is logits


def test_it_holds_the_latest_run(model: SmallCNN) -> None:
    with FeatureTap(model, "features.4") as tap:
        model(IMAGES)
        first = tap["features.4"]
        model(IMAGES[:2])
        assert tap["features.4"].shape[0] == 2
        assert first.shape[0] == 5
        tap.clear()
        with pytest.raises(KeyError, match="nothing was caught"):
            tap["features.4"]


def test_what_was_caught_stays_readable_after_the_block_and_later_runs_do_not_count(model: SmallCNN) -> None:
    with FeatureTap(model, "features.4") as tap:
        model(IMAGES)
    model(IMAGES[:2])
    assert tap["features.4"].shape == (5, 8, 4, 4)


def test_a_loss_on_the_features_trains_the_layers_below_and_no_others(model: SmallCNN) -> None:
    with FeatureTap(model, "features.1") as tap:
        model(IMAGES)
        tap["features.1"].square().sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {"features.0.weight", "features.0.bias"}
    assert all(bool(model.get_parameter(name).grad.abs().sum() > 0) for name in trained)


def test_the_forward_pass_is_the_same_with_a_tap(model: SmallCNN) -> None:
    model.train()
    model.features[1].eval()
    modes = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(IMAGES)
    with FeatureTap(model, ["features.0", "classifier.3"]):
        assert torch.equal(model(IMAGES), expected)
        assert list(model.state_dict()) == list(state)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


# --- nothing is left behind -------------------------------------------------------------------------------------------


def test_hooks_live_in_the_block_alone(model: SmallCNN) -> None:
    tap = FeatureTap(model, ["features.0", "features.3"])
    assert _hooks(model) == 0
    with tap:
        assert _hooks(model) == 2
        model(IMAGES)
    assert _hooks(model) == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_hook_is_left_by_an_error_in_the_block(model: SmallCNN, error: type[BaseException]) -> None:
    with pytest.raises(error), FeatureTap(model, ["features.0", "features.3"]):
        raise error
    assert _hooks(model) == 0


def test_no_hook_is_left_by_an_error_in_the_forward_pass(model: SmallCNN) -> None:
    with FeatureTap(model, ["features.0", "classifier.4"]) as tap:
        with pytest.raises(RuntimeError, match="channels"):
            model(torch.zeros(5, 3, 8, 8))
        with pytest.raises(KeyError, match=r"nothing was caught from 'features.0'"):
            tap["features.0"]
    with pytest.raises(RuntimeError, match="channels"), FeatureTap(model, "features.0"):
        model(torch.zeros(5, 3, 8, 8))
    assert _hooks(model) == 0


def test_two_taps_on_one_model_do_not_disturb_each_other(model: SmallCNN) -> None:
    with FeatureTap(model, "features.1") as outer:
        with FeatureTap(model, ["features.1", "features.4"]) as inner:
            model(IMAGES)
        assert _hooks(model) == 1
        assert outer["features.1"] is inner["features.1"]
        model(IMAGES[:2])
    assert (len(outer["features.1"]), len(inner["features.1"])) == (2, 5)
    assert _hooks(model) == 0


def test_taps_of_two_models_keep_apart() -> None:
    narrow, wide = SmallCNN(2), SmallCNN(3)
    with FeatureTap(narrow, "features.4") as student, FeatureTap(wide, "features.4") as teacher:
        narrow(IMAGES)
        wide(IMAGES)
    assert (student["features.4"].shape[1], teacher["features.4"].shape[1]) == (4, 6)


def test_hooks_of_others_stay(model: SmallCNN) -> None:
    handle = model.features[0].register_forward_hook(lambda *args: None)
    with FeatureTap(model, "features.0"):
        model(IMAGES)
    assert _hooks(model) == 1
    handle.remove()


def test_a_tap_may_be_opened_again_and_starts_empty_but_not_twice_at_once(model: SmallCNN) -> None:
    tap = FeatureTap(model, "features.4")
    with tap:
        model(IMAGES)
    with tap:
        with pytest.raises(KeyError, match="nothing was caught"):
            tap["features.4"]
        with pytest.raises(RuntimeError, match="this tap is open already"), tap:
            pass
        model(IMAGES[:3])
    assert len(tap["features.4"]) == 3
    assert _hooks(model) == 0


def test_a_deep_copy_made_inside_the_block_does_not_write_into_the_tap(model: SmallCNN) -> None:
    with FeatureTap(model, "features.4") as tap:
        model(IMAGES)
        twin = copy.deepcopy(model)
        twin(IMAGES[:2])
        assert len(tap["features.4"]) == 5
    twin(IMAGES[:2])
    assert len(tap["features.4"]) == 5


def test_clear_frees_the_features(model: SmallCNN) -> None:
    with FeatureTap(model, "features.4") as tap:
        model(IMAGES)
        features = weakref.ref(tap["features.4"])
        tap.clear()
        gc.collect()
        assert features() is None


# --- what is not the layer's output -----------------------------------------------------------------------------------


class _InPlace(nn.Sequential):
    def __init__(self, *, inplace: bool) -> None:
        super().__init__(nn.Linear(4, 4), nn.ReLU(inplace=inplace), nn.Linear(4, 2))


@pytest.mark.parametrize("grad", [True, False])
def test_features_that_a_later_layer_changed_in_place_are_refused(grad: bool) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    model = _InPlace(inplace=True)
    with torch.set_grad_enabled(grad), FeatureTap(model, ["0", "1"]) as tap:
        model(x)
    with pytest.raises(RuntimeError, match=r"output of '0' was changed in place.*inplace=False"):
        tap["0"]
    assert bool((tap["1"] >= 0).all())  # the layer that changes it returns what it made
    clean = _InPlace(inplace=False)
    with FeatureTap(clean, "0") as tap:
        clean(x)
    assert_close(tap["0"], clean[0](x))


def test_a_view_that_is_changed_in_place_is_found_too() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.ReLU(inplace=True))
    with FeatureTap(model, "0") as tap:
        model(torch.randn(3, 4))
    with pytest.raises(RuntimeError, match="changed in place"):
        tap["0"]


def test_it_works_in_inference_mode(model: SmallCNN) -> None:
    with torch.inference_mode(), FeatureTap(model, "features.4") as tap:
        model(IMAGES)
    assert_close(tap["features.4"], model.features(IMAGES))
    assert not tap["features.4"].requires_grad


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 3, batch_first=True)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0])


def test_a_layer_that_returns_no_tensor_is_refused_by_name() -> None:
    model = _Recurrent()
    with FeatureTap(model, "cell"), pytest.raises(TypeError, match="layer 'cell' returned a tuple, not a tensor"):
        model(torch.zeros(2, 5, 4))
    assert _hooks(model) == 0


# --- names ------------------------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_layers_and_suggests_the_nearest(model: SmallCNN) -> None:
    with pytest.raises(ValueError, match=r"'feature.3' is no layer of SmallCNN; there are: features, features\.0, .*"
                                         r"did you mean 'features\.3'"):  # fmt: skip
        FeatureTap(model, "feature.3")
    with pytest.raises(ValueError, match=r"'xyz' is no layer .*classifier\.4$"):
        FeatureTap(model, ["features.3", "xyz"])
    with pytest.raises(ValueError, match="'' is no layer"):
        FeatureTap(model, "")
    assert _hooks(model) == 0


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ([], ValueError, "name at least one layer"),
        ((), ValueError, "name at least one layer"),
        ([3], TypeError, "names must be strings such as 'features.3', got 3"),
        ([None], TypeError, "names must be strings"),
        (3, TypeError, "a layer's name or a list of them, got int"),
        (None, TypeError, "a layer's name or a list of them, got NoneType"),
        (nn.ReLU(), TypeError, "a layer's name or a list of them, got ReLU"),
    ],
)
def test_names_that_are_none_are_refused(model: SmallCNN, names: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        FeatureTap(model, names)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="model must be a torch module, got Tensor"):
        FeatureTap(IMAGES, "features.3")


def test_reading_too_early_or_another_layer_says_what_to_do(model: SmallCNN) -> None:
    tap = FeatureTap(model, ["features.1", "features.4"])
    with pytest.raises(KeyError, match="run the model inside the with block before reading"):
        tap["features.1"]
    with tap:
        with pytest.raises(KeyError, match="run the model inside this with block"):
            tap["features.1"]
        model.features[:2](IMAGES)  # not all of it
        assert tap["features.1"].shape == (5, 4, 8, 8)
        with pytest.raises(KeyError, match=r"nothing was caught from 'features.4'"):
            tap["features.4"]
        with pytest.raises(KeyError, match=r"'features.0' is not tapped; tapped are features\.1, features\.4"):
            tap["features.0"]


def test_its_repr_shows_what_was_caught(model: SmallCNN) -> None:
    with FeatureTap(model, "features.4") as tap:
        assert repr(tap) == "FeatureTap(open, features.4; caught: none)"
        model(IMAGES)
    assert repr(tap) == "FeatureTap(closed, features.4; caught: {'features.4': [5, 8, 4, 4]})"
