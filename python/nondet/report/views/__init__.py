"""The views: each makes one section of a report from a summary, in a module of its name."""

import importlib
from typing import TYPE_CHECKING

from nondet.names import check_view
from nondet.report.document import Section

if TYPE_CHECKING:
    from nondet.report.summary import Summary


def make_section(name: str, summary: "Summary") -> Section | None:
    """The section of one view (a name of `nondet.names.VIEWS`); None where there is nothing to
    show. Raises ValueError for an unknown name.
    """
    check_view(name)
    module = importlib.import_module(f"nondet.report.views.{name.replace('-', '_')}")
    section: Section | None = module.view(summary)
    return section
