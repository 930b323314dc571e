"""Importing is light and quiet."""

from __future__ import annotations

import fresh


def test_import_loads_no_native_code_and_no_audio_stack() -> None:
    result = fresh.run(
        "import sys, dds_fast; print([m for m in sys.modules if m in "
        "('dds_fast._cpu', 'dds_fast._cuda', 'librosa', 'soundfile', 'mir_eval', 'pretty_midi',"
        " 'matplotlib.pyplot', 'sklearn')])"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_decompose_stays_the_function() -> None:
    # A submodule of the same name exists; importing it must not put it in the function's place.
    result = fresh.run(
        "import dds_fast.decompose, dds_fast.fit; print(callable(dds_fast.decompose))"
    )
    assert result.stdout.strip() == "True", result.stderr
