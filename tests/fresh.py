"""Code in a new interpreter that sees the installed package, not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

SOUND_PACKAGES = ("librosa", "mir_eval", "pretty_midi", "sklearn", "soundfile")
"""What a machine for computing may lack."""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a folder of its own (the checkout's dds_fast/ holds no compiled modules)."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
