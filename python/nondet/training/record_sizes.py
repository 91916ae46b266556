"""Sizes of what is recorded of a training, shared by the recorders and the cost estimate.

This module does not import torch.
"""

MAX_TAP_IMAGES = 2000
"""Most test images whose representations are recorded, evenly spaced in their order: CKA needs no
more, and those of all images would fill disks.
"""

PROBE_IMAGES = 256
"""Number of test images, the first ones, that are predicted after every step of a twin."""

PATH_POINTS = 11
"""Number of points on the straight line between two trainings' weights, the ends included."""

MAX_SHIFT = 4
"""Largest shift of an image in test-time augmentation, in pixels and in either direction."""

TTA_VIEWS = 2 * (2 * MAX_SHIFT + 1) ** 2
"""Number of shifted and mirrored copies of an image in test-time augmentation."""
