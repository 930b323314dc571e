"""The update step on a GPU: one CUDA graph per step, from latents to the schedule's counters.

A graph's step begins with the decode of the latents as they are and ends with their next move, so
that what the decode keeps for the gradient lives inside the graph:

    decode Z -> residual -> move H -> residual, cost, schedule -> gradient of Z -> move Z

The host never waits for a step. It looks at the schedule every so many steps; where that has
stopped meanwhile, the steps beyond have moved nothing. Recordings that share a flow are searched
together: their rows pass through it as one batch, all else is each one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from dds_fast import arrays
from dds_fast.flows.cuda_graph import Graphed
from dds_fast.search import survivors
from dds_fast.search.gpu.decoder import Decoder, rows_that_fit
from dds_fast.search.gpu.recording import Recording
from dds_fast.search.gpu.weights import on_device_of
from dds_fast.search.problem import Problem, State
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search


class GradientSearch(Search):
    """One or more recordings, with fixed dictionaries or with the flow that all of them share."""

    stride = survivors.DROP_EVERY

    def __init__(
        self,
        problems: Sequence[Problem],
        schedules: Sequence[Schedule],
        precision: str,
        flow_ops: ModuleType,
    ) -> None:
        self.device = problems[0].X.device
        flow = problems[0].flow
        if any(problem.flow is not flow for problem in problems):
            raise ValueError("recordings searched together must share their flow")
        self.decoder: Decoder | None = None
        if flow is not None:
            self.decoder = Decoder(flow, problems[0].per_frame, precision, flow_ops)
        with on_device_of(problems[0].X):
            self.recordings = [
                Recording(problem, schedule, precision)
                for problem, schedule in zip(problems, schedules, strict=True)
            ]
            self._begin()
        self.controllers = [recording.controller for recording in self.recordings]
        self.most_steps = max(schedule.max_steps for schedule in schedules)
        self.graph = Graphed(self._update, self.device)
        self._look()

    def _begin(self) -> None:
        self._decode()
        for recording in self.recordings:
            recording.evaluate(observe=True)
        self._move_latents()

    def _decode(self) -> None:
        if self.decoder is None:
            return
        decoded = self.decoder.decode([recording.Z for recording in self.recordings])
        for recording, (entries, log_det) in zip(self.recordings, decoded, strict=True):
            recording.set_entries(entries, log_det)

    def _move_latents(self) -> None:
        if self.decoder is None:
            return
        gradients = [recording.dictionary_gradients() for recording in self.recordings]
        latents = [recording.Z for recording in self.recordings]
        moves = self.decoder.backward(latents, [g[:2] for g in gradients])
        for recording, move, (_, _, likelihood) in zip(
            self.recordings, moves, gradients, strict=True
        ):
            recording.move_latents(move, likelihood)

    def _update(self) -> None:
        self._decode()
        for recording in self.recordings:
            if self.decoder is not None:
                recording.evaluate(observe=False)
            recording.move_activations()
            recording.evaluate(observe=True)
        self._move_latents()

    def _look(self) -> None:
        for recording in self.recordings:
            recording.schedule.fetch(recording.controller)

    @arrays.isolated()
    def advance(self, n_steps: int = 1) -> None:
        """Up to `n_steps` update steps of those that go on; then look at their schedules."""
        if not self.running:
            return
        n_before = max(len(r.controller.history) for r in self.recordings) - 1
        with on_device_of(self.recordings[0].H):
            for _ in range(n_steps):
                self.graph()
        self._look()
        n_after = max(len(r.controller.history) for r in self.recordings) - 1
        every = survivors.DROP_EVERY
        if self.running and n_before // every != n_after // every:
            self._drop_dead()

    def _drop_dead(self) -> None:
        """Leave out what is dead in every frame: the flows or rows of a single recording."""
        if self.decoder is None or len(self.recordings) > 1:
            return
        units = self.recordings[0].drop_dead(self.decoder.unit_dim)
        if units is not None:
            self.decoder.keep_only(units)
            with on_device_of(self.recordings[0].H):
                self._resume()
            self.graph = Graphed(self._update, self.device)

    def _resume(self) -> None:
        """Make what a step finds from the one before, after entries were left out: nothing here."""

    def states(self) -> list[State]:
        """The current dictionaries and activations; dropped entries as they were last."""
        return [recording.state() for recording in self.recordings]


class FusedSearch(GradientSearch):
    """One recording, where one launch of the flow backend is the latents' whole half-step.

    A step begins with that `update`: backward, Adam and decode of a flow back to back, so that the
    decode finds in the cache what there is room for. Latents, entries and what is kept for the
    gradient stay in place, so a step can also end with the schedule:

        gradient of Z, move Z, decode Z -> residual -> move H -> residual, cost, schedule
    """

    def _begin(self) -> None:
        self._resume()
        self.recordings[0].evaluate(observe=True)

    def _resume(self) -> None:
        assert self.decoder is not None
        self._decode()

    def _update(self) -> None:
        assert self.decoder is not None
        (recording,) = self.recordings
        recording.move_through(self.decoder)
        recording.evaluate(observe=False)
        recording.move_activations()
        recording.evaluate(observe=True)


def gradient_search(
    problems: Sequence[Problem], schedules: Sequence[Schedule], precision: str, flow_ops: ModuleType
) -> GradientSearch:
    """The kind of search that suits the recordings and a flow backend."""
    flow, Z = problems[0].flow, problems[0].Z
    fused = len(problems) == 1 and flow is not None and hasattr(flow_ops, "update")
    if fused:
        assert flow is not None and Z is not None
        fused = Z.shape[1] <= rows_that_fit(flow)
    return (FusedSearch if fused else GradientSearch)(problems, schedules, precision, flow_ops)
