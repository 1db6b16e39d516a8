"""What the lessons run on: loaders with a fixed split, a checksum, and an online twin each."""

from kdlab.data.augment import shift_images
from kdlab.data.digits import load_digits
from kdlab.data.images import DataUnavailableError, ImageData, ImageSet

__all__ = ["DataUnavailableError", "ImageData", "ImageSet", "load_digits", "shift_images"]
