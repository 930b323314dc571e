"""Sentences of several speakers: from a speech synthesiser, or from TIMIT where it is at hand."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np

from dds_fast import audio

SR = 16000
N_SENTENCES = 10
LEVEL = 0.1
"""Every sentence has this root mean square."""

VOICES = (
    *("m1", "m4", "adam", "pablo", "quincy", "ed"),
    *("f1", "f3", "f5", "Alicia", "anika", "steph"),
)
"""Variants of eSpeak NG's American English that differ in pitch and formants; six high ones."""

HARVARD = re.split(
    r"(?<=\.)\s",
    """\
The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background.
It's easy to tell the depth of a well. These days a chicken leg is a rare dish.
Rice is often served in round bowls. The juice of lemons makes fine punch.
The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage.
Four hours of steady work faced us. A large size in stockings is hard to sell.
The boy was there when the sun rose. A rod is used to catch pink salmon.
The source of the huge river is the clear spring. Kick the ball straight and follow through.
Help the woman get back to her feet. A pot of tea helps to pass the evening.
Smoky fires lack flame and heat. The soft cushion broke the man's fall.
The salt breeze came across from the sea. The girl at the booth sold fifty bonds.
The small pup gnawed a hole in the sock. The fish twisted and turned on the bent hook.
Press the pants and sew a button on the vest. The swan dive was far short of perfect.
The beauty of the view stunned the young boy. Two blue fish swam in the tank.
Her purse was full of useless trash. The colt reared and threw the tall rider.
It snowed, rained, and hailed the same morning. Read verse out loud for pleasure.
Hoist the load to your left shoulder. Take the winding path to reach the lake.
Note closely the size of the gas tank. Wipe the grease off his dirty face.
Mend the coat before you go out. The wrist was badly strained and hung limp.
The stray cat gave birth to kittens. The young girl gave no clear response.
The meal was cooked before the bell rang. What joy there is in living.""",
)
"""Lists 1 to 4 of the Harvard sentences (IEEE, 1969)."""


def synthesised() -> Iterator[tuple[str, list[np.ndarray]]]:
    """A voice and ten sentences, each voice's own choice, ``(n,)`` floats at 16 kHz."""
    engine = _Espeak()
    rng = np.random.default_rng(0)
    for voice in VOICES:
        chosen = rng.permutation(len(HARVARD))[:N_SENTENCES]
        yield voice, [_levelled(engine.say(f"en-us+{voice}", HARVARD[i])) for i in chosen]


def timit(folder: Path, n_speakers: int = len(VOICES)) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The same from TIMIT: folders of ten ``.WAV`` files, one per speaker, wherever below."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".wav")
    speakers: dict[Path, list[Path]] = {}
    for path in paths:
        speakers.setdefault(path.parent, []).append(path)
    complete = [speaker for speaker, files in speakers.items() if len(files) == N_SENTENCES]
    if len(complete) < n_speakers:
        raise ValueError(f"{folder} has {len(complete)} folders of {N_SENTENCES} .wav files")
    rng = np.random.default_rng(0)
    for index in rng.permutation(len(complete))[:n_speakers]:
        speaker = complete[index]
        files = [speakers[speaker][i] for i in rng.permutation(N_SENTENCES)]
        yield speaker.name, [_levelled(audio.load(path, SR)) for path in files]


def _levelled(waveform: np.ndarray) -> np.ndarray:
    return waveform * np.float32(LEVEL / np.sqrt(np.mean(waveform**2)))


class _Espeak:
    """eSpeak NG as the wheel espeakng-loader carries it, by its C interface."""

    SYNCHRONOUS, UTF8 = 2, 1
    DO_NOT_EXIT = 0x8000

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sr = self.library.espeak_Initialize(
            self.SYNCHRONOUS, 0, ctypes.c_char_p(data), self.DO_NOT_EXIT
        )
        self.chunks: list[np.ndarray] = []
        samples = ctypes.POINTER(ctypes.c_short)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, samples, ctypes.c_int, ctypes.c_void_p)
        self.callback = prototype(self._collect)  # must live as long as the library calls it
        self.library.espeak_SetSynthCallback(self.callback)
        self.library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]

    def _collect(self, samples: ctypes._Pointer, n: int, events: int) -> int:
        if samples and n > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0

    def say(self, voice: str, text: str) -> np.ndarray:
        """``(n,)`` float32 at 16 kHz."""
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        self.chunks.clear()
        encoded = text.encode() + b"\0"
        self.library.espeak_Synth(encoded, len(encoded), 0, 1, 0, self.UTF8, None, None)
        waveform = np.concatenate(self.chunks).astype(np.float32) / 32768
        return librosa.resample(waveform, orig_sr=self.sr, target_sr=SR)
