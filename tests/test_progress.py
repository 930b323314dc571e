"""Progress: a line now and then where there is no terminal."""

from __future__ import annotations

import io

import pytest

from dds_fast import progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_thirty_seconds() -> None:
    written, clock = io.StringIO(), Clock()
    bar = progress.Lines(total=1000, file=written)
    bar._time, bar.start_t, bar.last_print_t = clock, 0.0, 0.0
    for _ in range(1000):
        clock.now += 0.1
        bar.update()
        bar.set_postfix_str("cost 1")
    bar.close()
    lines = written.getvalue().splitlines()
    assert len(lines) == 3 and "\r" not in written.getvalue()
    assert "cost 1" in lines[-1] and lines[0].startswith("30%") or " 30%" in lines[0]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(progress.bar(range(1000), shown=True, unit="step")) == 499500
    with progress.bar(total=3, shown=True) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_hidden(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(progress.bar(range(3), shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    list(progress.bar(range(3), shown=True))
    assert "3/3" in capsys.readouterr().err
