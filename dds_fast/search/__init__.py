"""The heart: from a spectrogram and a dictionary to entries and activations.

`problem` says what is to be found, `engines` choose who finds it, `loop` runs it. The rooms are the
engines: `reference` (plain PyTorch, the definition of truth), `cpu` (compiled) and `gpu` (Triton
and CUDA). They know tensors, never sound, notes or
data.
"""

from dds_fast.search.problem import Problem, StagedProblem, State
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search
from dds_fast.search.settings import DEFAULT, PAPER, SearchSettings

__all__ = [
    "DEFAULT",
    "PAPER",
    "Controller",
    "Problem",
    "Schedule",
    "Search",
    "SearchSettings",
    "StagedProblem",
    "State",
]
