"""A cache of teacher logits: right, or refused with words that say why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdlab.logit_cache import LogitCache
from kdlab.models import MLP, SmallCNN
from kdlab.training import distill, predict_logits, seeded

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
QUICK = {"epochs": 1, "lr": 1e-2, "batch_size": 16, "alpha": 1.0}


def _teacher(seed: int = 0) -> SmallCNN:
    with seeded(seed):
        return SmallCNN(width=2, dropout=0.5).train()  # as careless callers leave it


@pytest.fixture(scope="module")
def cache() -> LogitCache:
    return LogitCache.record(_teacher(), IMAGES)


def test_it_holds_the_teachers_answers_in_evaluation_mode_by_sample(cache: LogitCache) -> None:
    expected = predict_logits(_teacher(), IMAGES)
    rows = torch.tensor([7, 0, 7, 39])
    assert torch.equal(cache.logits, expected)
    assert torch.equal(cache.rows(rows), expected[rows])
    assert len(cache) == 40


def test_recording_leaves_the_teacher_as_it_was() -> None:
    teacher = _teacher()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    LogitCache.record(teacher, IMAGES)
    assert teacher.training
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_it_costs_four_bytes_per_logit_and_eight_per_image(cache: LogitCache, tmp_path: Path) -> None:
    assert cache.nbytes == 40 * 10 * 4 + 40 * 8
    cache.save(tmp_path / "cache.safetensors")
    assert cache.nbytes < (tmp_path / "cache.safetensors").stat().st_size < cache.nbytes + 1000


def test_a_round_trip_through_a_file_changes_nothing(cache: LogitCache, tmp_path: Path) -> None:
    cache.save(tmp_path / "cache.safetensors")
    again = LogitCache.load(str(tmp_path / "cache.safetensors"))
    assert torch.equal(again.logits, cache.logits)
    assert torch.equal(again.ids, cache.ids)
    again.check(IMAGES, _teacher())
    assert [path.name for path in tmp_path.iterdir()] == ["cache.safetensors"]


ORDER = torch.randperm(40, generator=torch.Generator().manual_seed(1))
ONE_PIXEL = IMAGES.clone()
ONE_PIXEL[3, 0, 0, 0] += 1e-3
CHANGES: dict[str, tuple[Tensor, str]] = {
    "shuffled": (IMAGES[ORDER], "same 40 images in another order"),
    "two swapped": (IMAGES[[1, 0, *range(2, 40)]], r"another order \(2 are in another place\)"),
    "subset": (IMAGES[:10], "only 10 of the 40 images"),
    "enlarged": (torch.cat([IMAGES, IMAGES[:1] + 1]), "41 images, and 1 of them were not recorded"),
    "doubled": (torch.cat([IMAGES, IMAGES]), "80 images, and 40 of them were not recorded"),
    "one pixel": (ONE_PIXEL, "1 of these 40 images are not among the 40 recorded"),
    "normalised": ((IMAGES - 0.5) / 0.5, "40 of these 40 images are not among.*normalised"),
    "double precision": (IMAGES.double(), "40 of these 40"),
    "flattened": (IMAGES.flatten(1), "40 of these 40"),
    "one repeated": (IMAGES[[0, *range(39)]], "1 of these 40"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_refused_in_words(cache: LogitCache, change: str) -> None:
    images, words = CHANGES[change]
    with pytest.raises(ValueError, match=words):
        cache.check(images)
    with pytest.raises(ValueError, match=words):
        distill(MLP(), cache, images, **QUICK)


def test_equal_images_in_other_memory_are_the_same_images(cache: LogitCache) -> None:
    cache.check(IMAGES.clone())
    cache.check(IMAGES.transpose(2, 3).contiguous().transpose(2, 3))  # other strides


def test_another_teacher_is_refused_and_so_is_the_same_one_after_training(cache: LogitCache) -> None:
    teacher = _teacher()
    cache.check(IMAGES, teacher)
    cache.check(IMAGES, teacher.eval())  # its mode is not its weights
    with pytest.raises(ValueError, match="other weights"):
        cache.check(IMAGES, _teacher(seed=1))
    with torch.no_grad():
        next(teacher.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(ValueError, match="other weights"):
        cache.check(IMAGES, teacher)


def test_moved_batch_norm_statistics_are_another_teacher() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    cache = LogitCache.record(teacher, IMAGES)
    teacher.train()(IMAGES)  # a forward pass in training mode moves them
    with pytest.raises(ValueError, match="other weights"):
        cache.check(IMAGES, teacher)


def test_select_finds_images_by_content(cache: LogitCache) -> None:
    chosen = cache.select(IMAGES[ORDER[:10]])
    assert torch.equal(chosen.logits, cache.logits[ORDER[:10]])
    chosen.check(IMAGES[ORDER[:10]], _teacher())
    with pytest.raises(ValueError, match="2 of these 3 images are not among the 40"):
        cache.select(torch.cat([IMAGES[:1], IMAGES[:2] + 1]))


def test_distilling_from_a_cache_is_distilling_from_the_teacher(cache: LogitCache) -> None:
    students = []
    for source in (_teacher(), cache, cache.logits):
        with seeded(3):
            student = MLP()
        distill(student, source, IMAGES, seed=3, **QUICK)
        students.append(predict_logits(student, IMAGES))
    assert torch.equal(students[0], students[1])
    assert torch.equal(students[0], students[2])


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(cache: LogitCache, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cache.safetensors"
    cache.save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"damaged or no safetensors file.*record the logits again"):
        LogitCache.load(path)


def test_every_flipped_byte_is_noticed(cache: LogitCache, tmp_path: Path) -> None:
    path = tmp_path / "cache.safetensors"
    cache.save(path)
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged|holds no teacher logits|version"):
            LogitCache.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"holds no teacher logits.*\['weight'\]"):
        LogitCache.load(path)
    with pytest.raises(FileNotFoundError):
        LogitCache.load(tmp_path / "nothing")


def test_a_file_of_a_later_version_is_refused(
    cache: LogitCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("kdlab.logit_cache._VERSION", 2)
        cache.save(tmp_path / "cache")
    with pytest.raises(ValueError, match="version 2, this kdlab reads 1"):
        LogitCache.load(tmp_path / "cache")


def test_a_teacher_without_finite_logits_is_not_recorded() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for value, words in ((float("nan"), "NaN"), (float("inf"), "infinite|NaN")):
        nn.init.constant_(teacher[1].weight, value)
        with pytest.raises(ValueError, match=words):
            LogitCache.record(teacher, IMAGES)
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        LogitCache.record(nn.Identity(), IMAGES)


def test_a_teacher_with_another_number_of_rows_is_refused() -> None:
    class Doubling(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).repeat(2, 1)

    with pytest.raises(ValueError, match="returns 6 rows for 3 images"):
        LogitCache.record(Doubling(), torch.rand(3, 1, 2, 2))
