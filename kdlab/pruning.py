"""Pruning: which weights can go, and what has to happen before anything is smaller or faster.

A **mask** says which weights stay (:mod:`kdlab.masks`); what a weight is worth can be asked of its size or of the data
(:mod:`kdlab.saliency`); how sparse each layer may become is a budget to be shared out (:mod:`kdlab.sparsity_budget`).
None of that makes a file smaller or a forward pass faster: zeros are numbers like others. A **sparse format** makes the
file smaller (:mod:`kdlab.sparse_files`), taking out whole **channels** makes everything smaller and faster
(:mod:`kdlab.channels`).
"""

from kdlab.channels import channel_scores, prune_channels
from kdlab.masks import (
    Masks,
    apply_mask,
    gradual_sparsity,
    magnitude_mask,
    nm_mask,
    prunable,
    random_mask,
    score_mask,
    sparsity_of,
)
from kdlab.saliency import magnitudes, obd_saliency, wanda_scores
from kdlab.sparse_files import FORMATS, load_sparse, save_sparse, sparse_bytes
from kdlab.sparsity_budget import allocate, sensitivity

__all__ = [
    "FORMATS",
    "Masks",
    "allocate",
    "apply_mask",
    "channel_scores",
    "gradual_sparsity",
    "load_sparse",
    "magnitude_mask",
    "magnitudes",
    "nm_mask",
    "obd_saliency",
    "prunable",
    "prune_channels",
    "random_mask",
    "save_sparse",
    "score_mask",
    "sensitivity",
    "sparse_bytes",
    "sparsity_of",
    "wanda_scores",
]
