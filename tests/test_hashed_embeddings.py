"""Embeddings with fewer rows than ids: who shares with whom, gradients, and refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kdlab.factorization import HashedEmbedding, QuotientRemainderEmbedding, collisions
from kdlab.measure import count_parameters

BOTH = {
    "hashed": lambda n=50, d=4, b=8: HashedEmbedding(n, d, b),
    "multiply": lambda n=50, d=4, b=8: QuotientRemainderEmbedding(n, d, b),
    "add": lambda n=50, d=4, b=8: QuotientRemainderEmbedding(n, d, b, combine="add"),
}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ids_of_any_shape_get_a_vector_each(name: str, dtype: torch.dtype) -> None:
    embedding = BOTH[name]().to(dtype)
    table = embedding(torch.arange(50))
    assert table.shape == (50, 4)
    assert table.dtype == dtype
    for shape in ((), (3,), (2, 5), (2, 3, 4), (0,)):
        ids = torch.randint(50, shape, generator=torch.Generator().manual_seed(1))
        assert torch.equal(embedding(ids), table[ids])
        assert torch.equal(embedding(ids.int()), table[ids])


@pytest.mark.parametrize(("count", "buckets"), [(50, 8), (50, 50), (49, 7), (10, 1), (1, 1), (1000, 31)])
def test_every_id_has_a_pair_of_rows_of_its_own(count: int, buckets: int) -> None:
    embedding = QuotientRemainderEmbedding(count, 3, buckets)
    pairs = embedding.rows(torch.arange(count))
    assert len(pairs.unique(dim=0)) == count
    assert pairs[:, 0].max() + 1 == len(embedding.quotient) == math.ceil(count / buckets)
    assert pairs[:, 1].max() < len(embedding.remainder) == buckets
    assert_close(pairs[:, 0] * buckets + pairs[:, 1], torch.arange(count))
    assert collisions(embedding) == 0
    assert len(embedding(torch.arange(count)).unique(dim=0)) == count


def test_rows_are_combined_as_asked() -> None:
    for combine, both in (("multiply", torch.mul), ("add", torch.add)):
        embedding = QuotientRemainderEmbedding(50, 4, 8, combine)
        assert torch.equal(embedding(torch.tensor(43)), both(embedding.quotient[5], embedding.remainder[3]))


def test_a_hash_is_that_of_its_formula_and_stays() -> None:
    embedding = HashedEmbedding(2**31 - 2, 2, 1000, seed=3)
    a, b = embedding.hash.tolist()
    assert 0 < a < 2**31 - 1
    assert 0 <= b < 2**31 - 1
    ids = [0, 1, 12345, 2**31 - 3]
    wanted = [((a * i + b) % (2**31 - 1)) % 1000 for i in ids]  # whole numbers without limit
    assert embedding.rows(torch.tensor(ids))[:, 0].tolist() == wanted
    assert torch.equal(embedding(torch.tensor(ids)), embedding.weight[wanted])
    same, other = HashedEmbedding(99, 2, 10, seed=3), HashedEmbedding(99, 2, 10, seed=4)
    assert torch.equal(same.hash, embedding.hash)
    assert not torch.equal(other.hash, embedding.hash)


def test_two_ids_share_a_row_as_seldom_as_a_universal_hash_promises() -> None:
    pairs = torch.tensor([[0, 1], [3, 7], [10, 20], [1, 65537], [0, 64]])
    buckets, draws = 16, 2000
    shared = torch.zeros(len(pairs))
    for seed in range(draws):
        rows = HashedEmbedding(10**6, 1, buckets, seed=seed).rows(pairs)[..., 0]
        shared += rows[:, 0] == rows[:, 1]
    limit = 1 / buckets + 4 * math.sqrt(1 / buckets / draws)
    assert (shared / draws < limit).all()
    assert (shared > 0).all()


def test_collisions_are_the_share_of_ids_with_a_twin() -> None:
    for count, buckets, seed in ((50, 8, 0), (40, 40, 1), (30, 25, 2)):
        embedding = HashedEmbedding(count, 3, buckets, seed=seed)
        table = embedding(torch.arange(count)).detach()
        twins = sum(any(torch.equal(table[i], table[j]) for j in range(count) if j != i) for i in range(count))
        assert collisions(embedding) == pytest.approx(twins / count)
    shares = [collisions(HashedEmbedding(5000, 1, 5000, seed=seed)) for seed in range(20)]
    assert sum(shares) / 20 == pytest.approx(1 - math.exp(-1), abs=0.1)


@pytest.mark.parametrize("name", BOTH)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    embedding, ids = BOTH[name](20, 2, 4).double(), torch.tensor([[0, 19], [7, 7]])
    names, values = zip(*embedding.named_parameters(), strict=True)

    def vectors(*given: Tensor) -> Tensor:
        return torch.func.functional_call(embedding, dict(zip(names, given, strict=True)), (ids,))

    assert torch.autograd.gradcheck(vectors, values)


def test_ids_that_share_a_row_train_it_together() -> None:
    embedding = HashedEmbedding(30, 2, 3)
    ids = torch.arange(30)
    embedding(ids).sum().backward()
    counts = torch.bincount(embedding.rows(ids)[:, 0], minlength=3)
    assert torch.equal(embedding.weight.grad, counts.float()[:, None].expand(3, 2))


@pytest.mark.parametrize("name", BOTH)
def test_vectors_start_as_wide_as_those_of_a_full_table(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vectors = BOTH[name](40000, 16, 400)(torch.arange(40000))
    assert vectors.mean().item() == pytest.approx(0, abs=0.05)
    assert vectors.var().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", BOTH)
def test_a_state_brings_its_rows_along(name: str) -> None:
    source, target = BOTH[name](), BOTH[name]()
    if name == "hashed":
        target = HashedEmbedding(50, 4, 8, seed=9)  # another hash: the same weights would mean other ids
    assert not torch.equal(source(torch.arange(50)), target(torch.arange(50)))
    target.load_state_dict(source.state_dict())
    assert torch.equal(source(torch.arange(50)), target(torch.arange(50)))


def test_sizes_are_those_of_the_rows() -> None:
    assert count_parameters(HashedEmbedding(1000, 7, 40)) == 280
    assert count_parameters(QuotientRemainderEmbedding(1000, 7, 32)) == 7 * (32 + 32)
    rows = {b: count_parameters(QuotientRemainderEmbedding(900, 1, b)) for b in range(1, 901)}
    assert min(rows.values()) == rows[30] == 60


@pytest.mark.parametrize("name", BOTH)
def test_ids_out_of_range_or_of_another_kind_are_refused(name: str) -> None:
    embedding, full = BOTH[name](), nn.Embedding(50, 4)
    for ids in (torch.tensor([0, 50]), torch.tensor([-1])):
        with pytest.raises(IndexError):
            full(ids)
        with pytest.raises(IndexError, match=r"ids run from -?\d+ to -?\d+, allowed are 0 to 49: made for another"):
            embedding(ids)
    assert embedding(torch.tensor([0, 49])).shape == (2, 4)
    for wrong in (torch.tensor([1.0]), torch.tensor([True]), [1], 3):
        with pytest.raises(TypeError, match="ids must be a tensor of integers, got"):
            embedding(wrong)


@pytest.mark.parametrize("kind", [HashedEmbedding, QuotientRemainderEmbedding])
def test_sizes_out_of_range_are_refused(kind: type[HashedEmbedding] | type[QuotientRemainderEmbedding]) -> None:
    for sizes, message in (
        ((0, 4, 1), "num_embeddings must be a whole number"),
        ((2**31 - 1, 4, 1), "num_embeddings must be a whole number from 1 to 2147483646"),
        ((9, 0, 3), "dim must be a whole number of at least 1, got 0"),
        ((9, 4, 0), "buckets must be a whole number from 1 to 9"),
        ((9, 4, 10), r"from 1 to 9 \(num_embeddings: more rows than ids\), got 10"),
        ((9, 4, 3.0), "buckets must be"),
        ((True, 4, 1), "num_embeddings must be"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(*sizes)
    with pytest.raises(ValueError, match="combine must be one of multiply, add, got 'concat'"):
        QuotientRemainderEmbedding(9, 4, 3, "concat")
    with pytest.raises(ValueError, match="seed must be"):
        HashedEmbedding(9, 4, 3, seed=-1)
    with pytest.raises(TypeError, match=r"embedding must be a HashedEmbedding or .*, got Embedding"):
        collisions(nn.Embedding(9, 4))  # type: ignore[arg-type]
