"""A transformer encoder that is built to be taken apart.

Every projection is an ``nn.Linear`` of its own: torch's ``nn.MultiheadAttention`` keeps query, key and value in one
matrix that is no module, which methods that replace layers (low rank, pruning, quantization) pass over, and
``nn.TransformerEncoderLayer`` leaves its modules aside in evaluation mode.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, arange, int32, int64, nn

__all__ = ["Attention", "Block", "TextEncoder"]


class TextEncoder(nn.Module):
    """A BERT-like encoder with a classifier on the mean over tokens.

    Args:
        vocabulary: number of tokens; id 0 is padding.
        width: size of a token's vector.
        layers: number of blocks.
        heads: attention heads; must divide ``width``.
        hidden: width of the feed-forward layer.
        num_classes: K, number of logits.
        max_length: longest sequence.

    Shape:
        input ids ``(B, L)`` int64, output ``(B, K)`` logits.

    Raises:
        TypeError, ValueError: heads that do not divide the width, ids that are no whole numbers, a sequence that is
            too long.

    References:
        Devlin, Chang, Lee, Toutanova (2019), BERT, arXiv 1810.04805, with the mean over tokens of Reimers,
        Gurevych (2019), Sentence-BERT, arXiv 1908.10084.

    Example:
        >>> from torch import ones, int64
        >>> TextEncoder(50, width=16, layers=1, heads=2, hidden=32)(ones(3, 7, dtype=int64)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        vocabulary: int = 8192,
        *,
        width: int = 384,
        layers: int = 6,
        heads: int = 12,
        hidden: int = 1536,
        num_classes: int = 10,
        max_length: int = 128,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.positions = nn.Embedding(max_length, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList([Block(width, heads, hidden) for _ in range(layers)])
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits for a batch; see the class for shapes."""
        longest = self.positions.num_embeddings
        if ids.dim() != 2 or ids.shape[1] > longest:
            raise ValueError(f"ids must have shape (B, L) with L up to {longest}, got {list(ids.shape)}")
        if ids.dtype not in (int32, int64):
            raise TypeError(f"ids must be whole numbers, int64 or int32, got {ids.dtype}: were images passed?")
        known = ids != 0  # (B, L)
        x = self.norm(self.tokens(ids) + self.positions(arange(ids.shape[1], device=ids.device)))  # (B, L, width)
        for block in self.blocks:
            x = block(x, known)
        weights = known.unsqueeze(-1).to(x.dtype)
        mean = (x * weights).sum(1) / weights.sum(1).clamp(min=1)  # padding takes no part, however long it is
        return self.classifier(mean)


class Block(nn.Module):
    """Attention and a feed-forward layer, each with its residual sum and a norm behind it."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.output_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Tokens ``(B, L, width)`` and which of them are no padding ``(B, L)`` to tokens of the same shape."""
        x = self.attention_norm(x + self.attention(x, known))
        return self.output_norm(x + self.down(F.gelu(self.up(x))))


class Attention(nn.Module):
    """Multi-head attention with a linear layer each for query, key, value and output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Tokens ``(B, L, width)`` to the same shape; nobody looks at padding."""
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=known[:, None, None, :])  # (B, heads, L, d)
        return self.o(mixed.transpose(1, 2).flatten(2))
