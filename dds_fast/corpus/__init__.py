"""Corpora: any number of recordings decomposed by workers on one machine or many, into a table.

`manifest` finds the recordings, `planning` says what they will cost, `run` gives them to workers
through Ray Data, `worker` is what these do, `table` keeps what they find, and `reporting` looks at
it. Only `run` needs Ray, and only when it is called.
"""

from dds_fast.corpus.planning import Plan, plan
from dds_fast.corpus.reporting import REPORT, Report, report
from dds_fast.corpus.run import Outcome, decompose
from dds_fast.corpus.table import RECORDINGS

__all__ = [
    "RECORDINGS",
    "REPORT",
    "Outcome",
    "Plan",
    "Report",
    "decompose",
    "plan",
    "report",
]
