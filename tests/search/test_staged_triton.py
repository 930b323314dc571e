"""The staged search on the device against the reference: on a GPU, or in the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from problems import start
from staged_problems import FIXED, KINDS, SETTINGS, S, by_source, finished, in_float32, lopsided
from staged_problems import make as make_whole
from torch import Tensor

from dds_fast.search import Schedule, Search, StagedProblem, engines, staged
from dds_fast.search.gpu import staged as gpu_staged
from dds_fast.search.gpu.activations import Activations
from dds_fast.search.gpu.codes import Codes, Rows
from dds_fast.search.gpu.costs import Costs
from dds_fast.search.gpu.decoder import Decoder
from dds_fast.search.gpu.staged import StagedSearch
from dds_fast.search.gpu.weights import Stash

SHORT = replace(SETTINGS, max_steps=FIXED + 11)
"""As far as the second look at the codes: the interpreter takes its time for each step with them.
"""

SPARSE = replace(SHORT, sparsity=1.0, fixed_sparsity=0.1, n_components=4)

# Largest relative difference of costs, and of W and H by root mean square, to float64. Measured:
# 1.1e-7 and 2.3e-6, 5.9e-6 and 1.3e-4, 1.9e-3 and 5.4e-3. W'X and W'W, which are float32 on most
# CPUs, are split here too: 2e-6 off, and H is led astray by up to 70 times that.
TOLERANCES = {"float32": (5e-7, 1e-5), "bf16x3": (3e-5, 5e-4), "bfloat16": (8e-3, 2e-2)}


def make(kind: str, likelihood: str = "latent", **settings: float) -> StagedProblem:
    return make_whole(kind, likelihood, replace(SHORT, **settings))


def on_device(problem: StagedProblem, where: torch.device) -> StagedProblem:
    """The problem in float32."""
    problem = in_float32(problem)
    flow = None if problem.flow is None else problem.flow.to(torch.float32, where)
    tensors = {name: getattr(problem, name) for name in ("X", "W", "Z", "labels")}
    moved = {name: None if t is None else t.to(where) for name, t in tensors.items()}
    return replace(problem, flow=flow, **moved)


def found(problem: StagedProblem, where: torch.device, precision: str = "float32") -> Search:
    return finished(on_device(problem, where), precision=precision, backend="triton")


def difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual.cpu().double() - expected).norm() / expected.norm())


def assert_agree(actual: Search, expected: Search, precision: str = "float32") -> None:
    of_cost, of_factors = TOLERANCES[precision]
    assert actual.controller.stop_reason == expected.controller.stop_reason
    assert actual.controller.history == pytest.approx(expected.controller.history, rel=of_cost)
    state, exact = actual.state(), expected.state()
    assert torch.equal(state.labels.cpu(), exact.labels)
    for name in ("W", "H", "log_likelihoods"):
        if getattr(exact, name) is None:
            assert getattr(state, name) is None
            continue
        assert getattr(state, name).dtype == torch.float32
        assert difference(getattr(state, name), getattr(exact, name)) < of_factors


@pytest.mark.slow
@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize(
    ("kind", "likelihood"), [("nmf", "latent"), ("dds2", "data"), ("dds3", "latent")]
)
def test_steps_are_those_of_the_reference(
    triton_device: torch.device, kind: str, likelihood: str, adapt: bool
) -> None:
    problem = make(kind, likelihood, adapt=adapt)
    assert_agree(found(problem, triton_device), finished(problem))


@pytest.mark.parametrize("precision", ["bf16x3", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "max_steps"), [("nmf", FIXED + 5), ("dds2", FIXED + 2), ("dds3", FIXED + 2)]
)
def test_lower_precision(
    triton_device: torch.device, kind: str, max_steps: int, precision: str
) -> None:
    problem = make(kind, max_steps=max_steps)
    assert_agree(found(problem, triton_device, precision), finished(problem), precision)


@pytest.mark.parametrize("precision", ["float32", "bf16x3"])
@pytest.mark.parametrize(("n_entries", "over_relaxed"), [(37, False), (37, True), (41, True)])
def test_updates_with_a_gram_matrix_or_without(
    triton_device: torch.device, n_entries: int, over_relaxed: bool, precision: str
) -> None:
    """At sizes that fill no tile, an odd number of times."""
    generator = torch.Generator().manual_seed(0)
    n_features, n_frames = 19, 70
    W, X, H, weights = (
        torch.rand(shape, generator=generator).double()
        for shape in (
            (n_features, n_entries),
            (n_features, n_frames),
            (n_entries, n_frames),
            (S, n_frames),
        )
    )
    labels = torch.arange(n_entries) * S // n_entries
    problem = on_device(
        StagedProblem(X, replace(SETTINGS, smoothing=5), S, labels, W=W), triton_device
    )
    D = problem.W.T.contiguous()
    activations = Activations(problem, problem.X.T.contiguous(), precision)
    activations.place(H.float().to(triton_device), problem.labels)
    assert (activations.gram is None) == (n_entries >= 2 * n_features)
    activations.weights.copy_(weights)
    activations.measure(D)
    activations.prepare(D)
    activations.update(D, 3, over_relaxed)
    for _ in range(3):
        penalty = weights[labels] * W.norm(dim=0)[:, None]
        ratio = (W.T @ X) / (W.T @ W @ H + penalty + 1e-9)
        H = H * ratio ** (1.5 if over_relaxed else 1.0)
    assert difference(activations.H, H) < (1e-6 if precision == "float32" else 1e-4)
    activations.reweigh()
    u = staged.smoothed(by_source(H, W, labels), 5)
    u = 1 / (u / u.amax(0) + SETTINGS.floor)
    expected = SETTINGS.sparsity * u / u.mean()
    assert difference(activations.weights, expected) < (1e-6 if precision == "float32" else 1e-4)


@pytest.mark.parametrize("n_kept", [30, 39])
def test_what_is_kept_goes_on_as_if_it_were_alone(triton_device: torch.device, n_kept: int) -> None:
    """Beginning without a Gram matrix, of ``J >= 2 F`` entries."""
    generator = torch.Generator().manual_seed(0)
    W, X, H = (torch.rand(shape, generator=generator) for shape in ((19, 50), (19, 9), (50, 9)))
    labels = torch.arange(50) * S // 50
    problem = on_device(StagedProblem(X, SETTINGS, S, labels, W=W), triton_device)
    Xt, D = problem.X.T.contiguous(), problem.W.T.contiguous()
    kept = torch.randperm(50, generator=generator)[:n_kept].sort().values.to(triton_device)
    H = H.to(triton_device)
    fewer, alone = (Activations(problem, Xt, "float32") for _ in range(2))
    fewer.place(H, problem.labels)
    fewer.measure(D)
    fewer.prepare(D)
    fewer.keep(kept, D[kept])
    alone.place(H[kept], problem.labels[kept])
    alone.measure(D[kept])
    alone.prepare(D[kept])
    for activations in (fewer, alone):
        activations.update(D[kept], 2, over_relaxed=True)
        activations.reweigh()
    torch.testing.assert_close(fewer.H, alone.H)
    torch.testing.assert_close(fewer.weights, alone.weights)


def test_rows_of_entries_among_flows() -> None:
    labels = torch.tensor([0, 2, 2, 2, 5])
    one, bank = Rows.of(labels, 1), Rows.of(labels, 7)
    assert one.groups.tolist() == [0] and one.places.tolist() == [0, 1, 2, 3, 4]
    assert bank.groups.tolist() == [0, 2, 5]
    assert bank.places.tolist() == [0, 3, 4, 5, 6]
    assert bank.entries.tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4]
    assert bank.spread(labels).tolist() == [[0, 0, 0], [2, 2, 2], [5, 5, 5]]
    silent = bank.silent(torch.ones(5, 2))
    assert silent.sum(1).tolist() == [2, 0, 0, 2, 2, 2, 2, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_dead_entries_leave_as_in_the_reference(
    triton_device: torch.device, kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fall silent, or their rows are given up."""
    monkeypatch.setattr(gpu_staged, "SHRINK", share)
    problem = replace(lopsided(kind), settings=SPARSE)
    search = start(
        on_device(problem, triton_device),
        Schedule(SPARSE.step_size, SPARSE.max_steps),
        backend="triton",
    )
    n_entries, n_rows = [], []
    while search.running:
        search.advance(1)
        n_entries.append(len(search.state().labels))
        n_rows.append(len(search.activations.H))
    assert n_entries[FIXED] > n_entries[-1]  # at a look
    assert (n_rows[FIXED] > n_rows[-1]) == (share == 1)
    if kind == "dds2":  # flows with fewer entries than another
        assert n_rows[FIXED] > n_entries[FIXED] and n_rows[-1] > n_entries[-1]
    assert_agree(search, finished(problem))


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_faint_sources_are_not_adapted(
    triton_device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = on_device(replace(lopsided(kind), settings=SHORT), triton_device)
    search = start(problem, Schedule(SHORT.step_size, SHORT.max_steps), backend="triton")
    search.advance(search.n_fixed)
    state = search.state()
    by_frame = by_source(state.H, state.W, state.labels)
    peaks = staged.smoothed(by_frame, problem.settings.smoothing).amax(1)
    monkeypatch.setattr(staged, "SILENT", float(peaks.sort().values[-2:].mean() / peaks.max()))
    search.advance(1)
    assert set(search.state().labels.tolist()) == {int(peaks.argmax())}


@pytest.mark.parametrize("kind", ["nmf", "dds3"])
def test_steps_may_be_asked_for_in_any_portions(triton_device: torch.device, kind: str) -> None:
    settings = replace(SHORT, max_steps=FIXED + 4)
    problem = on_device(make_whole(kind, settings=settings), triton_device)
    schedule = Schedule(settings.step_size, settings.max_steps)
    whole, parts = (start(problem, schedule, backend="triton") for _ in range(2))
    whole.advance(100)
    while parts.running:
        parts.advance(1)
    assert parts.controller.history == whole.controller.history
    assert torch.equal(parts.state().W, whole.state().W)
    assert torch.equal(parts.state().H, whole.state().H)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_stays_silent_and_nan_stops(triton_device: torch.device, kind: str) -> None:
    problem = make(kind, max_steps=FIXED + 2)
    silent = found(replace(problem, X=torch.zeros_like(problem.X)), triton_device)
    assert float(silent.state().H.max()) < 1e-4
    X = problem.X.clone()
    X[3, 2] = torch.nan
    assert found(replace(problem, X=X), triton_device).controller.stop_reason == "non-finite"


@pytest.mark.parametrize("kind", ["nmf", "dds3"])
def test_costs_end_with_one_that_is_not_finite(
    triton_device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else was done before the host looked."""
    monkeypatch.setattr(staged, "MOST_RESTARTS", 0)
    problem = on_device(make(kind), triton_device)
    search = start(problem, Schedule(SHORT.step_size, SHORT.max_steps), backend="triton")
    search.advance(FIXED + 1)
    assert isinstance(search, StagedSearch)
    search.activations.H[0, 0] = torch.inf
    search.advance(3)
    assert search.controller.stop_reason == "non-finite"
    assert len(search.controller.history) == FIXED + 3


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_lost_stage_begins_again_with_smaller_steps(
    triton_device: torch.device, kind: str
) -> None:
    problem = on_device(make(kind, max_steps=FIXED + 4), triton_device)
    search = start(problem, Schedule(0.01, FIXED + 4), backend="triton")
    search.advance(FIXED + 2)
    assert isinstance(search, StagedSearch)
    search.activations.H[0, 0] = torch.inf
    search.advance(1)
    assert search.n_restarts == 1 and len(search.controller.history) == FIXED + 1
    search.advance(100)
    smaller = start(problem, Schedule(0.01 * staged.SMALLER, FIXED + 4), backend="triton")
    smaller.advance(100)
    assert search.controller.history == smaller.controller.history
    assert torch.equal(search.state().H, smaller.state().H)


@pytest.mark.parametrize("kind", ["nmf", "dds3"])
def test_several_recordings_are_searched_each_by_itself(
    triton_device: torch.device, kind: str
) -> None:
    first = on_device(make(kind), triton_device)
    problems = [first, replace(first, X=2 * first.X[:, :4])]
    schedules = [Schedule(SHORT.step_size, n) for n in (FIXED + 2, FIXED + 1)]
    both = engines.start(problems, schedules, backend="triton")
    while both.running:
        both.advance(both.stride)
    for problem, schedule, controller, state in zip(
        problems, schedules, both.controllers, both.states(), strict=True
    ):
        alone = start(problem, schedule, backend="triton")
        alone.advance(100)
        assert controller.history == alone.controller.history
        assert torch.equal(state.H, alone.state().H)


def addresses(owner: object, name: str = "search") -> dict[str, int]:
    """Where all the tensors lie that a search and its parts hold."""
    if isinstance(owner, Tensor):
        return {name: owner.data_ptr()}
    if isinstance(owner, list | tuple):
        held = {str(i): item for i, item in enumerate(owner)}
    elif isinstance(owner, StagedSearch | Activations | Codes | Costs | Decoder | Rows | Stash):
        held = vars(owner)
    else:
        return {}
    return {k: v for key, item in held.items() for k, v in addresses(item, f"{name}.{key}").items()}


class Replayed:
    """Stands in for a graph: what the function makes lies where the second call had put it."""

    def __init__(self, function: Callable[[], None], device: torch.device, warm_up: int) -> None:
        self.function, self.n_calls = function, 0
        self.search = function.__self__
        self.decodes = function.__name__ == "_move"

    def made(self) -> list[Tensor]:
        stash = self.search.codes.decoder.stash
        return [self.search.D, self.search.log_likelihoods, stash.hidden, stash.moving]

    def __call__(self) -> None:
        self.n_calls += 1
        if self.n_calls > 2:
            assert addresses(self.search) == self.found
        kept = addresses(self.search)
        stash, places = self.search.codes.decoder.stash, self.made()
        self.function()
        if not self.decodes:
            assert addresses(self.search) == kept
            self.found = kept
        elif self.n_calls == 2:
            self.found = addresses(self.search)
        elif self.n_calls > 2:
            for place, value in zip(places, self.made(), strict=True):
                place.copy_(value)
            self.search.D, self.search.log_likelihoods = places[:2]
            self.search.codes.decoder.stash = stash


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_graphs_find_tensors_where_they_were(
    triton_device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if triton_device.type != "cpu":
        pytest.skip("graphs proper: test_captured_steps_are_those_of_the_reference")
    problem = in_float32(make(kind, max_steps=FIXED + 4))
    expected = finished(problem, backend="triton")
    monkeypatch.setattr(gpu_staged, "Graphed", Replayed)
    search = finished(problem, backend="triton")
    assert isinstance(search, StagedSearch)
    assert search.move.n_calls == search.follow.n_calls == 4
    assert search.controller.history == expected.controller.history


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_captured_steps_are_those_of_the_reference(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More steps than a capture needs, and a capture anew where entries leave."""
    monkeypatch.setattr(gpu_staged, "SHRINK", 1.0)
    problem = replace(lopsided(kind), settings=replace(SPARSE, max_steps=FIXED + 17))
    search, expected = found(problem, torch.device("cuda")), finished(problem)
    assert isinstance(search, StagedSearch)
    assert search.move.captured and search.follow.captured
    assert_agree(search, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_from_run_to_run(kind: str) -> None:
    problem = make(kind)
    first, second = (found(problem, torch.device("cuda")) for _ in range(2))
    assert first.controller.history == second.controller.history
    assert torch.equal(first.state().H, second.state().H)
