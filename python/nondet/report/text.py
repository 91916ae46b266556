"""How numbers are written, in every form of the report."""

from nondet.stats import Spread


def percent(value: float) -> str:
    """A percentage with two decimals; exactly 0 is written 0."""
    return "0" if value == 0 else f"{value:.2f}"


def spread(value: Spread, decimals: int, plus_minus: str = "±") -> str:
    """A standard deviation with its error bar.

    Exactly 0 is written 0; a value too small for `decimals` is written in scientific notation.
    """
    if value.sd == 0:
        return "0"
    if value.sd < 5 * 10**-decimals:
        return f"{value.sd:.1e} {plus_minus} {value.error:.0e}"
    return f"{value.sd:.{decimals}f} {plus_minus} {value.error:.{decimals}f}"


def number(value: float) -> str:
    """Two significant digits; scientific below 0.001."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if value < 1e-3 else f"{value:.2g}"


def factor(ratio: float) -> str:
    """A factor in two significant digits: 1.1, 14, 660,000."""
    if ratio < 10:
        return f"{ratio:.1f}"
    digits = len(str(int(ratio))) - 2
    return f"{round(ratio, -digits):,.0f}"


def correlation(value: float) -> str:
    """A correlation with four decimals; close to 1, its distance from 1; exactly 1 is written 1."""
    if value == 1:
        return "1"
    return f"{value:.4f}" if not 0.99995 <= value < 1 else f"1 - {1 - value:.0e}"


def change(value: float, decimals: int) -> str:
    """A signed difference; exactly 0 is written 0, one too small for `decimals` scientifically."""
    if value == 0:
        return "0"
    if abs(value) < 5 * 10 ** -(decimals + 1):
        return f"{value:+.0e}"
    return f"{value:+.{decimals}f}"
