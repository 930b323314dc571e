"""Table I's harness: what is counted, measured, fitted and drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paper import complexity, scaling
from paper.complexity import (
    AXES,
    METHODS,
    PRESETS,
    RECONSTRUCTED,
    Case,
    Sizes,
    cells,
    counted,
    degree,
)
from paper.tensor_memory import peak_bytes
from store import Results, Row

SIZES = Sizes(T=5, F=16, S=3, K=2, N=7, L=2)


@pytest.mark.parametrize("cell", RECONSTRUCTED, ids=" ".join)
def test_counted_exponents_are_those_of_the_table(cell: tuple[str, str, str]) -> None:
    assert {axis: degree(*cell, axis) for axis in AXES} == {
        axis: RECONSTRUCTED[cell][1].get(axis, 0) for axis in AXES
    }


def test_a_product_too_many_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of entries, on the way to the reconstruction: N of NMF counts twice."""
    original = complexity.reconstruct

    def wrong(D: torch.Tensor, H: torch.Tensor) -> torch.Tensor:
        return original((D @ D.mT) @ D, H)

    complexity._along.cache_clear()
    monkeypatch.setattr(complexity, "reconstruct", wrong)
    found = degree.__wrapped__("time", "reconstruction", "NMF", "N")
    complexity._along.cache_clear()
    assert (found, degree("time", "reconstruction", "NMF", "N")) == (2, 1)


def test_multiply_adds_by_hand() -> None:
    T, F, S, K, N, L = (getattr(SIZES, name) for name in AXES)
    reconstruction = {"NMF": F * N * T, "DDS-1": F * S * T}
    reconstruction |= dict.fromkeys(("DDS-2", "DDS-3"), F * S * K * T)
    for method, expected in reconstruction.items():
        assert counted("time", "reconstruction", method, SIZES) == expected
    w = F // 4
    bank = F // 2 * w + 3 * w * w + w * F
    w = 2 * F
    glow = F // 2 * w + 2 * w * w + w * F + F * F
    dictionary = {"DDS-1": S * T * L * bank, "DDS-2": S * K * L * bank, "DDS-3": S * K * L * glow}
    for method, expected in dictionary.items():
        assert counted("time", "dictionary", method, SIZES) == expected
    assert SIZES.weights("DDS-2") == S * L * bank
    assert SIZES.weights("DDS-3") == L * glow
    assert counted("space", "dictionary", "DDS-3", SIZES) == 4 * (L * glow + 2 * S * K * F)


def test_backends_compute_the_same() -> None:
    for component, method in cells():
        case = Case(component, method, SIZES)
        with torch.no_grad():
            reference, compiled = (case.call(name)() for name in ("reference", "cpu"))
        if component == "dictionary":
            reference, compiled = reference[0], compiled[0]
        torch.testing.assert_close(compiled, reference, rtol=1e-4, atol=1e-4)


def test_packed_weights_are_held() -> None:
    case = Case("dictionary", "DDS-2", SIZES)
    before = case.held()
    with torch.no_grad():
        case.call("cpu")()
    assert before >= case.bytes() - case.inputs[0].nbytes
    assert case.held() > 1.5 * before


def test_peak_of_tensor_memory() -> None:
    x = torch.ones(1000)

    def call() -> torch.Tensor:
        y = x + 1  # 4000 bytes
        z = torch.cat([y, y])  # and 8000
        del y
        return z[:10] + x[:10]

    assert 12_000 <= peak_bytes(call, "cpu") <= 12_400  # allocations are rounded up


def test_points_where_the_axis_is_in_no_term_are_measured_once() -> None:
    axes = PRESETS["quick"]
    assert axes["N"].points("reconstruction", "DDS-2") == [axes["N"].bases["reconstruction"].N]
    assert len(axes["N"].points("reconstruction", "NMF")) == 6
    assert max(axes["F"].points("dictionary", "DDS-2")) == 12_288
    assert max(axes["F"].points("dictionary", "DDS-3")) == 2304  # beyond, too many weights
    for preset in ("full", "quick"):
        for axis in AXES:
            for values in PRESETS[preset][axis].values.values():
                assert len(values) >= 6 and values[-1] >= 100 * values[0]


def made(method: str, component: str, axis: str, values: list[int], seconds: list[float]) -> list:
    """Rows as of a run, at the quick preset's sizes."""
    rows = []
    for value, time in zip(values, seconds, strict=True):
        sizes = PRESETS["quick"][axis].sizes(component, value)
        info = {
            "method": method,
            "component": component,
            "backend": "cpu",
            "axis": axis,
            "value": value,
            "sizes": vars(sizes),
            "multiply_adds": 10**9,
            "bytes": 10**6 * value,
            "other_bytes": 0,
            "peak_bytes": 2 * 10**6 * value,
        }
        rows.append(Row(f"{component} {axis}", f"{method}, cpu", time, fastest=time, info=info))
    return rows


def run(*rows: list) -> Results:
    groups: dict[str, list[Row]] = {}
    for row in sum(rows, []):
        groups.setdefault(row.group, []).append(row)
    return Results(groups, ["a machine"], quick=False)


def test_slopes_and_ranges() -> None:
    values = [100, 1000, 10_000, 100_000]
    results = run(made("NMF", "reconstruction", "N", values, [1e-3 * v**1.5 for v in values]))
    (points,) = scaling.curves(results).values()
    points[0]["multiply_adds"] = 10
    time, space = scaling.fits(results)
    points_left = scaling.fit("time", "reconstruction", "NMF", "N", "cpu", points)
    assert time.slope == pytest.approx(1.5)
    assert (points_left.low, points_left.high) == (1000, 100_000)
    assert space.slope == pytest.approx(1.0)
    assert (time.stated, time.counted) == (1, 1)
    assert time.slope_of_all == pytest.approx(1.5)
    unresolved = scaling.fit("time", "reconstruction", "NMF", "N", "cpu", points[:3])
    assert unresolved.slope is None and unresolved.why.startswith(
        "not resolved: only 1000, 10000 with"
    )


def test_crossing_points() -> None:
    values = [1000, 10_000, 100_000]
    base = PRESETS["quick"]["N"].bases["reconstruction"].N
    results = run(
        made("NMF", "reconstruction", "N", values, [1e-6 * v for v in values]),
        made("DDS-2", "reconstruction", "N", [base], [0.01]),
        made("DDS-2", "dictionary", "N", [base], [0.02]),
        made("DDS-3", "reconstruction", "N", [base], [0.1]),
        made("DDS-3", "dictionary", "N", [base], [0.4]),
    )
    first, second = scaling.crossings(results)
    assert (first.faster, first.extrapolated) == ("DDS-2", False)
    assert first.value == pytest.approx(30_000)
    assert (second.faster, second.extrapolated) == ("DDS-3", True)
    assert second.value == pytest.approx(500_000)
    report = scaling.report(results)
    assert "N ≈ 30,000" in report and "N ≈ 500,000, extrapolated" in report
    assert scaling.draw(results, "N") is not None
    assert scaling.draw(results, "T") is None
    assert scaling.draw_crossings(results) is not None


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([2.0, 2.0, 2.0], (0.0, False)),
        ([0.5, 0.5, 0.5], (None, False)),
        ([0.5, 0.1, 0.01], (None, False)),
        ([0.5, 2.0, 0.5], (None, False)),
    ],
    ids=["always", "never", "ever farther", "back again"],
)
def test_without_a_crossing(costs: list[float], expected: tuple) -> None:
    x = np.array([1.0, 10.0, 100.0])
    assert scaling._crossing(x, np.array(costs), np.ones(3)) == expected


def test_methods_are_complete() -> None:
    assert {method for _, method in cells()} == set(METHODS)
