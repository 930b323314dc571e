"""Calls of the tensor functions with odd arguments: the right result, or an error in words.

``DDS_FAST_FUZZ=10000 pytest tests/search/test_hostile_calls.py`` makes so many in place of 250.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from tolerances import error_ratio
from torch import Tensor

from dds_fast import ops
from dds_fast.flows import RealNVPBank
from dds_fast.ops import Coupling, FrozenFlow, FrozenStep
from dds_fast.search import Problem, Schedule, SearchSettings, StagedProblem, engines

N_CALLS = int(os.environ.get("DDS_FAST_FUZZ", 250))
G, F, R, T, WIDTH = 3, 7, 2, 5, 4
J = G * R
REFUSED = re.compile("computes (on|in)|no backend of|serves flows|out of memory")
"""Of a RuntimeError that is the library's own; ValueErrors all are."""

Arguments = dict[str, Any]


def flow_of(at: Arguments) -> FrozenFlow:
    """Two steps from the parts of a hand-made flow, of which a call may spoil any."""
    steps = []
    for name in ("first", "second"):
        part = {key[len(name) + 1 :]: value for key, value in at.items() if key.startswith(name)}
        coupling = Coupling(
            (part["weight 0"], part["weight 1"]),
            (part["bias 0"], part["bias 1"]),
            part["alpha"],
            part["beta"],
            at["activation"],
        )
        steps.append(FrozenStep(coupling, part.get("order"), part.get("mixing"), part.get("shift")))
    return FrozenFlow(tuple(steps), at["log_det"])


def parts(normal: Callable[..., Tensor], mixing: str, groups: int) -> Arguments:
    made: Arguments = {"activation": "selu", "log_det": normal(groups).double()}
    for name in ("first", "second"):
        made |= {
            f"{name} weight 0": normal(groups, WIDTH, F - F // 2) / 2,
            f"{name} weight 1": normal(groups, 2 * (F // 2), WIDTH) / 2,
            f"{name} bias 0": normal(groups, WIDTH),
            f"{name} bias 1": normal(groups, 2 * (F // 2)),
            f"{name} alpha": normal(groups),
            f"{name} beta": normal(groups),
        }
        if mixing == "order":
            made[f"{name} order"] = normal(groups, F).argsort(-1)
        elif mixing == "matrix":
            made[f"{name} mixing"] = torch.eye(F) + normal(groups, F, F) / 9
            made[f"{name} shift"] = normal(groups, F)
    return made


def call_flow(at: Arguments) -> list[Tensor]:
    op = ops.flow_encode if at["encode"] else ops.flow_decode
    rows = at["rows"]
    return list(op(flow_of(at), rows, precision=at["precision"], backend=at["backend"]))


def call_objective(at: Arguments) -> list[Tensor]:
    names = ("X", "W", "H", "log_likelihoods")
    numbers = {name: at[name] for name in ("penalty", "epsilon", "sparsity")}
    return [ops.objective(*(at[name] for name in names), **numbers)]


def searched(problem: Problem | StagedProblem, at: Arguments) -> list[Tensor]:
    schedule = Schedule(at["step_size"], at["max_steps"])
    search = engines.start([problem], [schedule], precision=at["precision"], backend=at["backend"])
    search.advance(4)
    state = search.state()
    n_frames = problem.X.shape[1]
    assert state.W.shape[-1] in (n_frames, state.H.shape[0]) and state.H.shape[-1] == n_frames
    return [torch.tensor(search.controller.history)]


def call_gradient(at: Arguments) -> list[Tensor]:
    names = ("X", "H", "epsilon", "penalty", "sparsity", "W", "Z", "n_fixed", "per_frame")
    given = {name: at[name] for name in (*names, "likelihood") if name in at}
    return searched(Problem(**given, flow=flow_of(at) if "log_det" in at else None), at)


def call_staged(at: Arguments) -> list[Tensor]:
    settings = SearchSettings(
        at["max_steps"],
        at["step_size"],
        at["penalty"],
        at["n_components"],
        at["sparsity"],
        "staged",
        updates_per_step=at["updates_per_step"],
        fixed_updates=at["fixed_updates"],
        smoothing=at["smoothing"],
    )
    names = ("X", "n_sources", "labels", "W", "Z", "n_fixed", "likelihood")
    given = {name: at[name] for name in names if name in at}
    flow = flow_of(at) if "log_det" in at else None
    return searched(StagedProblem(settings=settings, flow=flow, **given), at)


def call_least_squares(at: Arguments) -> list[Tensor]:
    H, _ = ops.least_squares(at["X"], at["W"], max_passes=at["max_passes"], tolerance=0.0)
    return [torch.linalg.norm(at["X"].double() - at["W"].double() @ H.double())]


def call_update(at: Arguments) -> list[Tensor]:
    return [ops.multiplicative_update(at["X"], at["W"], at["H"], factor=at["factor"])]


def draw(random: Random) -> tuple[Callable[[Arguments], list[Tensor]], Arguments]:
    """A sound call."""
    generator = torch.Generator().manual_seed(random.randrange(1 << 30))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    mixing = random.choice(("order", "matrix", "none"))
    groups = 1 if mixing == "matrix" else G
    X, labels = normal(F, T).abs(), torch.arange(G).repeat_interleave(R)
    flow, Z = parts(normal, mixing, groups), normal(groups, J // groups, F) / 2
    how: Arguments = {
        "precision": random.choice((None, None, "float32")),
        "backend": random.choice(("auto", "cpu", "reference")),
        "step_size": 0.01,
        "max_steps": 3,
    }
    weights: Arguments = {"penalty": 0.01, "epsilon": 1e-3, "sparsity": 0.1}
    codes = {"Z": Z, "n_fixed": random.choice((0, 2)), "likelihood": "data"}
    staged = {
        **{"X": X, "labels": labels, "n_sources": G, "n_components": 2, "updates_per_step": 2},
        **{"fixed_updates": 15, "smoothing": 3, **how, **weights, "max_steps": 4},
    }
    W, H = normal(F, J).abs(), normal(J, T).abs()
    calls: list[tuple[Callable[[Arguments], list[Tensor]], Arguments]] = [
        (call_flow, {**flow, **how, "rows": normal(groups, 4, F), "encode": random.random() < 0.5}),
        (call_gradient, {**flow, **how, **weights, **codes, "X": X, "H": H, "per_frame": False}),
        (call_gradient, {**how, **weights, "X": X, "H": H, "W": W}),
        (call_staged, {**staged, **flow, **codes}),
        (call_staged, {**staged, "W": W}),
        (call_objective, {**weights, "X": X, "W": W, "H": H, "log_likelihoods": normal(J)}),
        (call_least_squares, {"X": X, "W": W, "max_passes": 60}),
        (call_update, {"X": X, "W": W, "H": H, "factor": random.choice("WH")}),
    ]
    if mixing != "matrix":
        codes = {**codes, "Z": normal(G, T, F) / 2, "per_frame": True, "H": normal(G, T).abs()}
        calls.append((call_gradient, {**flow, **how, **weights, **codes, "X": X}))
    return random.choice(calls)


DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.complex64),
    *(torch.bool, torch.float8_e4m3fn),
)


def _strided(tensor: Tensor) -> Tensor:
    """The same values, every other one in memory."""
    return torch.stack([tensor, tensor], -1).flatten(-2)[..., ::2] if tensor.ndim else tensor


TENSORS: dict[str, Callable[[Random, Tensor], Any]] = {
    "cast": lambda random, t: t.to(random.choice(DTYPES)),
    "strided": lambda random, t: _strided(t),
    "columns": lambda random, t: t.mT.contiguous().mT if t.ndim > 1 else t,
    "outermost last": lambda random, t: t.movedim(0, -1).contiguous().movedim(-1, 0),
    "negative bit": lambda random, t: torch._neg_view(-t),
    "with gradient": lambda random, t: t.clone().requires_grad_(),
    "offset": lambda random, t: torch.cat([t.flatten()[:1], t.flatten()])[1:].view(t.shape),
    "expanded": lambda random, t: t[:1].expand(t.shape),
    "transposed": lambda random, t: t.transpose(0, -1),
    "one dim more": lambda random, t: t[None],
    "one dim fewer": lambda random, t: t[0],
    "flat": lambda random, t: t.flatten(),
    "fewer": lambda random, t: t[:-1],
    "narrower": lambda random, t: t[..., 1:],
    "twice": lambda random, t: torch.cat([t, t]),
    "none": lambda random, t: t[:0],
    "empty": lambda random, t: t[..., :0],
    "sparse": lambda random, t: t.to_sparse(),
    "elsewhere": lambda random, t: t.to("meta"),
    "an array": lambda random, t: t.numpy(),
    "nothing": lambda random, t: None,
    "constant": lambda random, t: torch.full_like(t, random.choice((0, 1, -1))),
    "a list": lambda random, t: t.tolist(),
}
NUMBERS = (-1, 0, 0.5, 1, 2, 7, 10**12, 10**400, float("nan"), float("inf"), "x", None, True, [1])
WORDS = ("", "x", "latent", "leaky_relu", "bfloat16", "bf16x3", "float64", "triton", "H", None, 3)


def spoil(random: Random, at: Arguments) -> str:
    """Change an argument, or the dtype or the layout of all tensors."""
    if random.random() < 0.15:
        how = random.choice(("cast", "strided", "columns", "outermost last", "negative bit"))
        state = random.getstate()
        for name, value in at.items():
            if isinstance(value, Tensor) and (value.is_floating_point() or how != "cast"):
                random.setstate(state)  # all to one dtype
                at[name] = TENSORS[how](random, value)
        if how == "cast" and "log_det" in at:
            at["log_det"] = at["log_det"].real.double()
        return f"{how} all"
    name = random.choice(sorted(at))
    value = at[name]
    if isinstance(value, Tensor):
        how = random.choice(tuple(TENSORS))
        at[name] = TENSORS[how](random, value)
        return f"{how}: {name}"
    at[name] = random.choice(WORDS if isinstance(value, str) else NUMBERS)
    return f"{name}={at[name]!r}"


def exact(at: Arguments) -> Arguments:
    """The same call in float64 by the reference, with tensors as plain as can be."""
    plain = {}
    for name, value in at.items():
        if isinstance(value, Tensor):
            value = value.detach().resolve_neg().clone(memory_format=torch.contiguous_format)
            value = value.double() if value.is_floating_point() else value
        plain[name] = value
    return plain | {"precision": None, "backend": "reference"}


def check(case: int) -> str | None:
    """Make a call; what was done, if it was refused."""
    random = Random(case)
    call, at = draw(random)
    done = [call.__name__]
    try:
        for _ in range(random.choice((1, 1, 2))):
            done.append(spoil(random, at))
    except (RuntimeError, IndexError, TypeError, AttributeError):
        pass  # there is no such change of what was changed before
    words = f"call {case}: {', '.join(done)}"
    before = {name: value.clone() for name, value in at.items() if isinstance(value, Tensor)}
    try:
        found = call(dict(at))
    except (ValueError, MemoryError) as error:
        assert str(error), words
        return words
    except RuntimeError as error:
        assert REFUSED.search(str(error)), f"{words}: {error}"
        return words
    except Exception as error:
        raise AssertionError(f"{words}: {error!r}") from error
    if any(isinstance(value, int | float) and value > 1e6 for value in at.values()):
        return None  # single and double precision part
    changed = [name for name, value in before.items() if not torch.equal(value, at[name])]
    assert not changed, f"{words}: changed {changed}"
    expected = call(exact(at))
    bound = {"bfloat16": 0.1, "bf16x3": 1e-2}.get(at.get("precision"), 1e-3)
    if call is call_least_squares:
        bound = 0.3  # the backends come to the minimum by ways of their own
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape, words
        finite = bool(torch.isfinite(one).all())
        assert finite == bool(torch.isfinite(other).all()), words
        assert not finite or error_ratio(one, other) < bound, f"{words}: {one} is not {other}"
    return None


@pytest.mark.usefixtures("native_code")
def test_hostile_calls() -> None:
    refused = [check(case) for case in range(N_CALLS)]
    assert N_CALLS // 10 < sum(words is None for words in refused) < 9 * N_CALLS // 10


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("how", ["columns", "strided", "negative bit", "outermost last"])
@pytest.mark.parametrize("name", ["X", "H", "Z"])
def test_layout_changes_no_search(name: str, how: str, backend: str) -> None:
    flow = RealNVPBank(G, F, n_steps=2, width=WIDTH, depth=1).freeze()
    generator = torch.Generator().manual_seed(0)
    given = {
        "X": torch.rand(F, T, generator=generator),
        "H": torch.rand(J, T, generator=generator),
        "Z": torch.randn(G, R, F, generator=generator),
    }
    found = []
    for tensors in (given, given | {name: TENSORS[how](Random(0), given[name])}):
        problem = Problem(**tensors, epsilon=1e-3, penalty=0.1, flow=flow)
        search = engines.start([problem], [Schedule(0.05, 6)], backend=backend)
        search.advance(6)
        found.append(search)
    assert found[0].controller.history == found[1].controller.history
    assert torch.equal(found[0].state().H, found[1].state().H)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_default_device_and_autocast_change_no_search(backend: str) -> None:
    W = torch.rand(F, J, generator=torch.Generator().manual_seed(0))
    problem = StagedProblem(
        W[:, :T].clone(),
        SearchSettings(6, 0.01, 0.0, adapt=False, fixed_updates=20),
        G,
        torch.arange(G).repeat_interleave(R),
        W=W,
    )
    histories = []
    for context in (nullcontext(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16)):
        with context:
            search = engines.start([problem], [Schedule(0.01, 6)], backend=backend)
            search.advance(6)
        histories.append(search.controller.history)
    assert histories[0] == histories[1] == histories[2]


def test_flows_of_mixed_steps_are_left_to_the_reference() -> None:
    narrow, wide = (RealNVPBank(2, F, 1, width=width, depth=1).freeze() for width in (3, 5))
    flow = FrozenFlow((*narrow.steps, *wide.steps), narrow.log_det)
    with pytest.raises(RuntimeError, match="steps are all of one size"):
        ops.flow_decode(flow, torch.zeros(2, 1, F), backend="cpu")
    z = torch.randn(2, 4, F)
    exact = ops.flow_decode(flow.to(torch.float64), z.double())[0]
    assert error_ratio(ops.flow_decode(flow, z)[0], exact) < 1e-5


def test_what_was_packed_is_not_that_of_other_weights() -> None:
    flow, z = RealNVPBank(2, F, 1, width=3, depth=1).freeze(), torch.ones(2, 4, F)
    ops.flow_decode(flow, z)
    (step,) = flow.steps
    coupling = replace(step.coupling, weights=tuple(2 * w for w in step.coupling.weights))
    other = replace(flow, steps=(replace(step, coupling=coupling),))
    exact = ops.flow_decode(other.to(torch.float64), z.double())[0]
    assert error_ratio(ops.flow_decode(other, z)[0], exact) < 1e-5


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("how", ["columns", "strided"])
def test_a_search_leaves_its_arguments_as_they_were(how: str, backend: str) -> None:
    W = TENSORS[how](Random(0), torch.eye(F)[:, [0, 0, 1, 1, 2, 2]] + 1e-3)
    X = TENSORS[how](Random(0), W[:, -1:].repeat(1, T))  # the first entries die
    given = X.clone(), W.clone()
    settings = SearchSettings(4, 0.01, 0.0, adapt=False, fixed_updates=40)
    problem = StagedProblem(X, settings, G, torch.arange(G).repeat_interleave(R), W=W)
    search = engines.start([problem], [Schedule(0.01, 4)], backend=backend)
    search.advance(4)
    assert search.state().W.shape[1] < J
    assert torch.equal(X, given[0]) and torch.equal(W, given[1])


@pytest.mark.parametrize("name", ["X", "W"])
def test_negative_values_are_refused(name: str) -> None:
    given = {"X": torch.rand(F, T), "W": torch.rand(F, J)}
    given[name][2, 3] = -1e-9
    settings, labels = SearchSettings(4, 0.01, 0.0), torch.arange(J)
    with pytest.raises(ValueError, match=f"{name} holds negative values"):
        StagedProblem(**given, settings=settings, n_sources=J, labels=labels)
    with pytest.raises(ValueError, match=f"{name} holds negative values"):
        Problem(**given, H=torch.rand(J, T), epsilon=0.0)
