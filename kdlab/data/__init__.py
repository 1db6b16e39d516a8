"""What the lessons run on: loaders with a fixed split, a checksum, and an online twin each."""

from kdlab.data.augment import shift_images
from kdlab.data.digits import load_digits
from kdlab.data.images import DataUnavailableError, ImageData, ImageSet
from kdlab.data.views import coarse, left_half, right_half

__all__ = [
    "DataUnavailableError",
    "ImageData",
    "ImageSet",
    "coarse",
    "left_half",
    "load_digits",
    "right_half",
    "shift_images",
]
