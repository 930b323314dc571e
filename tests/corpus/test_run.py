"""Corpora on Ray: a cluster of two workers, which are killed, and so is the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import contents, described
from tiny import dictionary, recording

from dds_fast import corpus
from dds_fast.command.main import main
from dds_fast.dictionary import Dictionary

ray = pytest.importorskip("ray", reason="corpora need the extra ray")

RUN = "import sys; from dds_fast.command.main import main; sys.exit(main(sys.argv[1:]))"
N = 8


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Ray for all tests: that of RAY_ADDRESS, or one that lasts as long as they."""
    given = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    started = ray.init(
        given or "local", log_to_driver=False, include_dashboard=None, **({} if given else own)
    )
    yield started.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="module")
def slow() -> Dictionary:
    """A search of about half a second, so that it can be killed in the middle."""
    return dictionary("dds3", search={"dds3": {"max_steps": 300, "n_components": 2}})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("recordings")
    return [recording(folder / f"{i}.wav", 200 + 40 * i) for i in range(N)]


@pytest.fixture(scope="module")
def undisturbed(
    cluster: str,
    slow: Dictionary,
    recordings: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Any]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    done = corpus.decompose(recordings, out, slow)
    assert (done.recordings, done.done, done.failed) == (N, N, 0)
    return contents(out)


def once(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def has_parts(out: Path) -> bool:
    return any((out / "recordings").glob("part-*"))


def test_the_notes_are_those_of_decompose(
    undisturbed: tuple[Any, Any], slow: Dictionary, recordings: list[str]
) -> None:
    import dds_fast

    found = [
        {"recording": path, **vars(note)}
        for path in recordings
        for note in dds_fast.decompose(path, slow).notes()
    ]
    key = ("recording", "start", "source")
    assert sorted(found, key=lambda note: [note[name] for name in key]) == undisturbed[1]
    assert {row["recording"] for row in undisturbed[0]} == set(recordings)


def run_with(rows: str, cluster: str, options: str) -> str:
    """What a driver prints of a corpus whose workers have these lines at the end of `rows`."""
    script = f"""
import os, signal
from pathlib import Path
from dds_fast import corpus
from dds_fast.corpus import run
from dds_fast.corpus.worker import Worker

class Dying(Worker):
    def rows(self, recordings):
        found = super().rows(recordings)
{textwrap.indent(rows, " " * 8)}
        return found

run.SingleThreaded, run.RETRIES = Dying, 1
done = corpus.decompose(address={cluster!r}, {options})
print(done.done, done.failed, *done.errors.values())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]  # Ray may have said something before


def test_a_killed_worker_costs_nothing(
    cluster: str,
    undisturbed: tuple[Any, Any],
    slow: Dictionary,
    recordings: list[str],
    tmp_path: Path,
) -> None:
    out, model, mark = tmp_path / "out", tmp_path / "m.safetensors", tmp_path / "killed"
    slow.save(model)
    rows = f"""
if {recordings[3]!r} in recordings and not os.path.exists({str(mark)!r}):
    Path({str(mark)!r}).touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    told = f"inputs={recordings}, output={str(out)!r}, dictionary={str(model)!r}, part_seconds=0"
    assert run_with(rows, cluster, told) == f"{N} 0"
    assert mark.exists()
    assert same(contents(out), undisturbed)


def test_a_worker_that_a_recording_kills(cluster: str, tmp_path: Path) -> None:
    """It is named in the end, and the others are done."""
    paths = [recording(tmp_path / "in" / f"{name}.wav") for name in ("bad", "good")]
    model = tmp_path / "m.safetensors"
    dictionary("nmf", search={"nmf": {"max_steps": 1}}).save(model)
    rows = f"if {paths[0]!r} in recordings: os._exit(1)"
    told = f"inputs={paths}, output={str(tmp_path / 'out')!r}, dictionary={str(model)!r}, workers=1"
    assert run_with(rows, cluster, told).startswith("1 1 its worker died")
    assert [row["error"] is None for row in contents(tmp_path / "out")[0]] == [False, True]


def same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> bool:
    """But for the dictionary's hash, which is another one of a file."""
    for row in (*found[0], *expected[0]):
        row["dictionary"] = None
    return found == expected


def test_a_killed_driver_costs_little(
    cluster: str,
    undisturbed: tuple[Any, Any],
    slow: Dictionary,
    recordings: list[str],
    tmp_path: Path,
) -> None:
    out, model = tmp_path / "out", tmp_path / "m.safetensors"
    slow.save(model)
    script = f"""
from dds_fast import corpus
corpus.decompose({recordings}, {str(out)!r}, {str(model)!r}, address={cluster!r}, part_seconds=0)
"""
    driver = subprocess.Popen([sys.executable, "-c", script])
    once(lambda: has_parts(out) or driver.poll() is not None)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    before = described(out)
    assert 0 < len(before) < N
    parts = {path: path.stat().st_mtime_ns for path in (out / "recordings").glob("part-*")}
    done = corpus.decompose(recordings, out, model)
    assert (done.done, done.failed) == (N, 0)
    assert all(path.stat().st_mtime_ns == then for path, then in parts.items())
    assert same(contents(out), undisturbed)


def test_bad_recordings_are_named_summed_up_and_tried_again(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out, folder = tmp_path / "m.safetensors", tmp_path / "out", tmp_path / "in"
    dictionary("nmf", search={"nmf": {"max_steps": 1}}).save(model)
    recording(folder / "good.wav")
    (folder / "broken.wav").write_text("these are not samples")
    (folder / "empty.wav").touch()
    arguments = ["corpus", str(folder), "-o", str(out), "-d", str(model), "--files"]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "1 of 3 recordings are in" in said and "2 of 3 recordings failed" in said
    described_rows, notes = contents(out)
    errors = {Path(row["recording"]).name: row["error"] for row in described_rows}
    (good,) = (row for row in described_rows if row["error"] is None)
    written = (out / "files" / good["folder"] / "notes.csv").read_text().splitlines()
    assert Path(good["recording"]).name == "good.wav" and len(written) == 1 + len(notes)
    assert errors.keys() == {"broken.wav", "empty.wav", "good.wav"}
    for name in ("broken.wav", "empty.wav"):
        assert name in errors[name] and errors[name] in said
    recording(folder / "broken.wav")
    assert main(arguments) == 1
    assert "1 of 3 recordings failed" in capsys.readouterr().err
    assert list(described(out)) == [
        str(folder / name) for name in ("broken.wav", "empty.wav", "good.wav")
    ]
    assert main(["corpus-report", str(out)]) == 0
    said = capsys.readouterr().out
    assert "failed: 1\n" in said and "good.wav" in said
    page = (out / "report" / "01.html").read_text()
    assert "page.js" not in page and 'name="generator"' in page
    assert 'href="01.html"' in (out / "report" / "index.html").read_text()
