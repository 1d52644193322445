"""One HTML file about a ladder of models that a person would rather look at than read.

``write_report(result, path)`` takes what `unrolled.comparison.compare.climb` returns;
``read_results`` takes the results.json that it left. It needs the extra ``report``: matplotlib
and jinja2.
"""

from unrolled.report.html import write_report
from unrolled.report.tables import read_results

__all__ = ["read_results", "write_report"]
