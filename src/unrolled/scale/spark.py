"""Spark: scores of a DataFrame's rows, and n-gram models trained on a cluster.

``unrolled.spark`` is this module. It needs the extra ``spark`` and Java.
"""

from __future__ import annotations

from unrolled.scale.spark_scoring import score
from unrolled.scale.spark_session import spark_session

__all__ = ["score", "spark_session"]
