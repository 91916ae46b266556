"""Known causes of other results: which of them fit what a comparison found, and what to do."""

from nondet.tracing.causes.cause import Cause, Fit
from nondet.tracing.causes.table import CAUSES
from nondet.tracing.compare.evidence import Evidence, Explanation

__all__ = ["CAUSES", "Cause", "Fit", "explain"]

_STRENGTHS = ("shown", "likely", "possible")


def explain(evidence: Evidence) -> list[Explanation]:
    """Return the known causes that fit, the most special first; none if the streams are equal.

    Of all that fit, only those are returned that fit best: what the traces show rules out what is
    merely likely, and that what is only possible.
    """
    if evidence.first is None:
        return []
    fits = [(cause, fit) for cause in CAUSES if (fit := cause.fits(evidence)) is not None]
    best = next((s for s in _STRENGTHS if any(fit.strength == s for _, fit in fits)), None)
    return [
        Explanation(cause.id, cause.title, fit.because, cause.advice)
        for cause, fit in fits
        if fit.strength == best
    ]
