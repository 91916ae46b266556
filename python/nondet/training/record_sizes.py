"""Sizes and names of what is recorded of a training, for the recorders, the cost estimate and the
store.

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

STEP_SERIES = ("step", "weights_l2", "weights_norm", "probe_logits_rms", "probe_disagreement")
"""Names of the arrays of a twin that have a value per step."""

EPOCH_SERIES = (
    "epoch",
    "epoch_logits_rms",
    "epoch_disagreement",
    "epoch_accuracy",
    "epoch_cross_entropy",
    "epoch_accuracy_twin",
    "epoch_cross_entropy_twin",
)
"""Names of the arrays of a twin that have a value per evaluated epoch."""

INTEGER_SERIES = ("step", "epoch")
"""The int64 ones of these arrays; all others are float64."""

PATH_SERIES = (
    "alpha",
    *(f"path_{part}_{what}" for part in ("train", "test") for what in ("cross_entropy", "error")),
)
"""Names of the arrays of a twin that have a value per point of the path between the two."""
