"""Results: what is refused, what a row holds, and that finished rows stay."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import store


def test_changes_are_refused_but_for_a_trial_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "changes", lambda: " M dds_fast/fit.py")
    with pytest.raises(store.Refused, match="1 tracked files differ"):
        store.permit(tmp_path / "x.json")
    store.permit(tmp_path / "x.json", trial=True)
    with pytest.raises(store.Refused, match="is not kept"):
        store.permit(store.RESULTS / "x.json", trial=True)
    monkeypatch.setattr(store, "changes", lambda: None)
    with pytest.raises(store.Refused, match="not a git checkout"):
        store.permit(tmp_path / "x.json")
    monkeypatch.setattr(store, "changes", lambda: "")
    store.permit(store.RESULTS / "x.json")


def test_a_trial_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "changes", lambda: "")
    run = store.provenance(command="python benchmarks x")
    assert set(run) == {"command", "commit", "seed", "models", "machine", "versions"}
    (digest,) = run["models"].values()
    assert hashlib.sha256(store.PACKAGED.read_bytes()).hexdigest().startswith(digest)
    monkeypatch.setattr(store, "changes", lambda: " M README.md")
    assert store.provenance(command="python benchmarks x") == run | {"changed": True}


def test_models_of_the_command_line_are_named_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "bank.safetensors"
    model.write_bytes(b"weights")
    monkeypatch.setattr("sys.argv", ["benchmarks x", "--model", f"dds2={model}"])
    named = store.provenance(seed=3)
    assert named["models"][model.name] == hashlib.sha256(b"weights").hexdigest()[:32]
    assert named["seed"] == 3 and "seed" not in store.provenance(seed=None)


def test_what_a_record_does_not_say() -> None:
    run = {"commit": "abc", "seed": 0, "models": {}}
    assert store.lacking({"runs": [run], "rows": []}) == []
    old = {"commit": None}
    assert store.lacking({"runs": [run, old], "rows": []}) == [
        *("commit", "clean tree", "seed", "models")
    ]
    rows = [{"seed": 0, "model": "f00"}]
    assert store.lacking({"runs": [old | {"commit": "abc"}], "rows": rows}) == []
    assert store.lacking({"runs": [run | {"changed": True}], "rows": []}) == ["clean tree"]


def test_turns_are_pooled_and_who_was_refused_has_no_time() -> None:
    def turn(contender: str, *seconds: float, **info: float) -> store.Record:
        return {
            "group": "W1 step",
            "name": "test_x",
            "extra_info": {"contender": contender} | info,
            "stats": {"data": seconds},
        }

    turns = [turn("a", 4.0, 2.0, calls=2), turn("b", 1.0), turn("a", 6.0, 8.0, calls=2)]
    turns.append(turn("c", 5.0, outside=1.0, repeated=10.0))
    refused = store.refused("W1 step", "b", "OSError")
    a, c, b = store.pooled(turns, [refused, refused])
    assert (a["median"], a["spread"], a["fastest"], a["n_samples"]) == (2.5, [1.75, 3.25], 1.0, 4)
    assert c["median"] == 41.0 and c["info"] == {}
    assert b == refused
    points = store.pooled([turn("a", 1.0, value=1), turn("a", 2.0, value=2)], [])
    assert [(row["median"], row["info"]["value"]) for row in points] == [(1.0, 1), (2.0, 2)]


def test_finished_rows_stay_and_name_their_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"

    def never() -> store.Record:
        raise AssertionError

    study = store.Study(path, ("file", "pair"), trial=True)
    assert study.add("a", (1, 2), measure=lambda: {"psa": 1 / 3})["psa"] == 0.33333333
    again = store.Study(path, ("file", "pair"), trial=True)
    again.add("a", (1, 2), measure=never)
    provenance = store.provenance()
    monkeypatch.setattr(store, "provenance", lambda *_, **__: provenance | {"commit": "other"})
    later = store.Study(path, ("file", "pair"), trial=True)
    later.add("b", (1, 2), measure=lambda: {"psa": 0.5})
    record = store.read(path)
    assert [row.get("run", 0) for row in record["rows"]] == [0, 1]
    assert [run["commit"] for run in record["runs"]] == [provenance["commit"], "other"]
    assert len(path.read_text().splitlines()) == 10
