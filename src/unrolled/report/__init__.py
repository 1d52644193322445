"""One HTML file about a comparison of models, with tables and pictures.

``write_report(result, path)`` takes what `unrolled.comparison.compare.compare_models` returns;
``read_results`` reads the results.json that it wrote. The page needs the extra
``report``, jinja2; pictures need no other package.
"""

from unrolled.report.html import write_report
from unrolled.report.tables import read_results

__all__ = ["read_results", "write_report"]
