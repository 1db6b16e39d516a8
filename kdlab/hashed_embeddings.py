"""Embeddings with fewer rows than ids: one shared row per id, or two rows that make every id different.

An embedding table is often most of a model: its rows are the vocabulary, or the items of a shop. Both classes here take
the place of ``nn.Embedding(num_embeddings, dim)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdlab.low_rank import check_whole

__all__ = ["HashedEmbedding", "QuotientRemainderEmbedding", "collisions"]

_PRIME = 2**31 - 1  # above every id, and its square still fits into int64
_COMBINE = ("multiply", "add")


class HashedEmbedding(nn.Module):
    r"""An embedding whose ids share rows by a hash.

    .. math:: e(i) = E_{h(i)}, \qquad h(i) = \big((a i + b) \bmod p\big) \bmod B

    with a and b drawn once by the seed, p prime: a universal hash, under which two given ids share a row with a
    probability of at most 1 / B over the draw. Ids that do are one to the model, however different they are. The
    multiplier and offset are in the ``state_dict``, since the rows mean nothing without them.

    References:
        Carter, Wegman (1979), Universal Classes of Hash Functions, Journal of Computer and System Sciences 18.
        Weinberger, Dasgupta, Attenberg, Langford, Smola (2009), Feature Hashing for Large Scale Multitask Learning,
        arXiv 0902.2206.

    Args:
        num_embeddings: n, number of ids, below :math:`2^{31} - 1`.
        dim: d, size of a vector.
        buckets: B, number of rows, from 1 to n.
        seed: of a and b.

    Shape:
        ids of any shape ``(*)``, integers from 0 to n - 1; output ``(*, d)``.

    Raises:
        ValueError: a size out of range.
        TypeError, IndexError: in the forward pass, ids that are no integers, or out of range.

    Example:
        >>> embedding = HashedEmbedding(30000, 16, buckets=1000)
        >>> embedding(torch.tensor([[7, 29999]])).shape, embedding.weight.shape
        (torch.Size([1, 2, 16]), torch.Size([1000, 16]))
    """

    hash: Tensor

    def __init__(self, num_embeddings: int, dim: int, buckets: int, *, seed: int = 0) -> None:
        super().__init__()
        _check_sizes(num_embeddings, dim, buckets)
        check_whole("seed", seed, least=0)
        self.num_embeddings, self.dim, self.buckets = num_embeddings, dim, buckets
        generator = torch.Generator().manual_seed(seed)
        multiplier = torch.randint(1, _PRIME, (1,), generator=generator)
        offset = torch.randint(0, _PRIME, (1,), generator=generator)
        self.register_buffer("hash", torch.cat([multiplier, offset]))
        self.weight = nn.Parameter(torch.randn(buckets, dim))

    def rows(self, ids: Tensor) -> Tensor:
        """Which row each id has: ``(*)`` to ``(*, 1)``."""
        hashed = (self.hash[0] * _checked(ids, self.num_embeddings) + self.hash[1]) % _PRIME
        return (hashed % self.buckets).unsqueeze(-1)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors for ids; see the class for shapes."""
        return nn.functional.embedding(self.rows(ids).squeeze(-1), self.weight)

    def extra_repr(self) -> str:
        """Sizes, for ``print``."""
        return f"{self.num_embeddings}, {self.dim}, buckets={self.buckets}"


class QuotientRemainderEmbedding(nn.Module):
    r"""An embedding that combines two rows per id, so that no two ids are the same.

    .. math:: e(i) = Q_{\lfloor i / B \rfloor} \odot R_{i \bmod B} \quad \text{or their sum}

    Quotient and remainder together determine the id, so every id has a pair of rows that no other has, though each row
    serves many. There are :math:`\lceil n / B \rceil + B` rows, fewest at B near :math:`\sqrt n`, where
    about :math:`2 \sqrt n` rows stand for n.

    References:
        Shi, Mudigere, Naumov, Yang (2019), Compositional Embeddings Using Complementary Partitions for Memory-Efficient
        Recommendation Systems, arXiv 1909.02107.

    Args:
        num_embeddings: n, number of ids.
        dim: d, size of a vector.
        buckets: B, number of remainders, from 1 to n.
        combine: ``multiply``, or ``add``, under which the difference between two ids of one quotient is the same for
            every quotient.

    Shape:
        ids of any shape ``(*)``, integers from 0 to n - 1; output ``(*, d)``. Vectors start with mean 0 and variance 1
        per component, as those of ``nn.Embedding``.

    Raises:
        ValueError: a size out of range, another ``combine``.
        TypeError, IndexError: in the forward pass, ids that are no integers, or out of range.

    Example:
        >>> embedding = QuotientRemainderEmbedding(30000, 16, buckets=200)
        >>> embedding.quotient.shape, embedding.remainder.shape
        (torch.Size([150, 16]), torch.Size([200, 16]))
    """

    def __init__(self, num_embeddings: int, dim: int, buckets: int, combine: str = "multiply") -> None:
        super().__init__()
        _check_sizes(num_embeddings, dim, buckets)
        if combine not in _COMBINE:
            raise ValueError(f"combine must be one of {', '.join(_COMBINE)}, got {combine!r}")
        self.num_embeddings, self.dim, self.buckets, self.combine = num_embeddings, dim, buckets, combine
        spread = 1.0 if combine == "multiply" else 0.5**0.5
        self.quotient = nn.Parameter(spread * torch.randn(-(-num_embeddings // buckets), dim))
        self.remainder = nn.Parameter(spread * torch.randn(buckets, dim))

    def rows(self, ids: Tensor) -> Tensor:
        """Which rows each id has, of the quotients and of the remainders: ``(*)`` to ``(*, 2)``."""
        checked = _checked(ids, self.num_embeddings)
        return torch.stack([checked // self.buckets, checked % self.buckets], dim=-1)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors for ids; see the class for shapes."""
        which = self.rows(ids)
        quotient = nn.functional.embedding(which[..., 0], self.quotient)
        remainder = nn.functional.embedding(which[..., 1], self.remainder)
        return quotient * remainder if self.combine == "multiply" else quotient + remainder

    def extra_repr(self) -> str:
        """Sizes, for ``print``."""
        return f"{self.num_embeddings}, {self.dim}, buckets={self.buckets}, combine={self.combine!r}"


@torch.no_grad()
def collisions(embedding: HashedEmbedding | QuotientRemainderEmbedding) -> float:
    r"""Share of ids that have all their rows in common with another id, and so the same vector; in [0, 1].

    Rows thrown at random would give :math:`1 - (1 - 1 / B)^{n - 1}` for :class:`HashedEmbedding`, which is near 1 long
    before B is small. :class:`QuotientRemainderEmbedding` gives 0.

    Raises:
        TypeError: another kind of embedding.

    Example:
        >>> collisions(QuotientRemainderEmbedding(100, 4, buckets=10)), collisions(HashedEmbedding(100, 4, buckets=1))
        (0.0, 1.0)
    """
    if not isinstance(embedding, HashedEmbedding | QuotientRemainderEmbedding):
        kinds = "HashedEmbedding or QuotientRemainderEmbedding"
        raise TypeError(f"embedding must be a {kinds}, got {type(embedding).__name__}")
    device = next(embedding.parameters()).device
    rows = embedding.rows(torch.arange(embedding.num_embeddings, device=device))
    _, counts = rows.unique(dim=0, return_counts=True)
    return float(counts[counts > 1].sum()) / embedding.num_embeddings


def _check_sizes(num_embeddings: object, dim: object, buckets: object) -> None:
    check_whole("num_embeddings", num_embeddings, most=_PRIME - 1, why="the hash's prime is next")
    check_whole("dim", dim)
    check_whole("buckets", buckets, most=num_embeddings, why="num_embeddings: more rows than ids")  # type: ignore[arg-type]


def _checked(ids: object, size: int) -> Tensor:
    """Ids as int64, all of them in range."""
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise TypeError(f"ids must be a tensor of integers, got {kind}")
    wide = ids.long()
    if wide.numel():
        low, high = (int(bound) for bound in torch.aminmax(wide))
        if low < 0 or high >= size:
            raise IndexError(f"ids run from {low} to {high}, allowed are 0 to {size - 1}: made for another vocabulary?")
    return wide
