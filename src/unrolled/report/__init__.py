"""One HTML file about a comparison of models, with tables and pictures.

``write_report(result, path)`` takes what `unrolled.comparison.compare.compare_models` returns;
``read_results`` reads the results.json that it wrote. They need the extra ``report``: matplotlib
and jinja2.
"""

from unrolled.report.html import write_report
from unrolled.report.tables import read_results

__all__ = ["read_results", "write_report"]
