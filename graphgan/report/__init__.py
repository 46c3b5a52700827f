"""Judge a set of crystals and write the report: numbers, a row a crystal, and one HTML page. Knows no
model."""

from graphgan.report.evaluation import evaluate
from graphgan.report.result import Report

__all__ = ["Report", "evaluate"]
