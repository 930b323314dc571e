"""Notes of a MIDI file, read as tolerantly as players do."""

from __future__ import annotations

import bisect
import logging
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast.notes.names import NO_PITCH

if TYPE_CHECKING:
    import mido

    from dds_fast.notes.score import Row

logger = logging.getLogger("dds_fast")

SUFFIXES = (".mid", ".midi", ".kar", ".smf", ".rmi")
PEDAL = 64
"""Controller number of the sustain pedal, and the value from which it is down."""

_NAME, _PORT, _END, _TEMPO = 0x03, 0x21, 0x2F, 0x51
"""The meta events that are read; others may hold what they like."""

_PROGRAMS = 128


def is_midi(path: Path, content: bytes) -> bool:
    """Whether a file is MIDI, by its suffix or its first bytes."""
    magic = content.startswith(b"MThd") or content[8:12] == b"RMID"
    return magic or path.suffix.lower() in SUFFIXES


def read_midi(path: Path, content: bytes, pedal: bool, drums: Mapping[str, int]) -> list[Row]:
    """Rows of a file; see `dds_fast.notes.score.load_labels`."""
    import pretty_midi

    try:
        resolution, smpte, n_tracks, chunks = _chunks(content)
        file, changes, n_struck = _file(resolution, smpte, chunks)
        midi = pretty_midi.PrettyMIDI(mido_object=file)
    except Exception as error:  # mido raises whatever the broken bytes provoke
        raise ValueError(f"{path} is not a readable MIDI file: {error}") from error
    if len(chunks) != n_tracks:
        logger.warning(
            "%s: its header tells of %d tracks, %d are there", path, n_tracks, len(chunks)
        )
    if unread := n_struck - sum(len(instrument.notes) for instrument in midi.instruments):
        logger.warning("%s: %d notes have no end, or no length; left out", path, unread)
    # pretty_midi makes an instrument of each track, channel and program.
    names = [instrument.name.strip() or "track" for instrument in midi.instruments]
    ends = _pedalled(midi, changes) if pedal else {}
    rows = []
    for index, instrument in enumerate(midi.instruments):
        name = names[index] if names.count(names[index]) == 1 else f"{names[index]} {index + 1}"
        drum_of = {} if names[index] in drums else {note: drum for drum, note in drums.items()}
        for note in instrument.notes:
            pitch, track = note.pitch, name
            if instrument.is_drum:
                pitch, track = NO_PITCH, drum_of.get(note.pitch, names[index])
                if track not in drums:
                    continue
            span = note.start, ends.get(id(note), note.end)
            rows.append((*span, float(pitch), float(note.velocity), track))
    return sorted(rows)


def _chunks(content: bytes) -> tuple[float, bool, int, list[bytes]]:
    """Ticks per beat, or per half second of time code; whether it is time code; how many tracks the
    header tells of; those that are there."""
    start = content.find(b"MThd") if content[8:12] == b"RMID" else 0
    if not content.startswith(b"MThd", max(start, 0)):
        raise ValueError("it does not begin with MThd")
    if len(content) < start + 14:
        raise ValueError("it is cut off in its header")
    size, kind, n_tracks, division = struct.unpack_from(">IHHh", content, start + 4)
    if kind == 2 and n_tracks > 1:
        raise ValueError(f"it is of format 2: {n_tracks} pieces, not one")
    resolution = float(division)
    if division < 0:  # SMPTE: frames per second, 29 for 29.97, and ticks per frame
        frames = {29: 30000 / 1001}.get(-(division >> 8), -(division >> 8))
        resolution = frames * (division & 0xFF) / 2
    if resolution == 0:
        raise ValueError("its time division is 0")
    chunks, place = [], start + 8 + size
    while place + 8 <= len(content):
        name, size = struct.unpack_from(">4sI", content, place)
        chunk = content[place + 8 : place + 8 + size]
        place += 8 + size
        if name == b"MTrk":
            chunks.append(chunk)
            if len(chunk) < size and not chunk.endswith(b"\xff\x2f\0"):
                have = f"{len(chunk)} of {size} bytes"
                raise ValueError(f"it is truncated: track {len(chunks)} has {have}")
    if not chunks:
        raise ValueError("it holds no track")
    return resolution, division < 0, n_tracks, chunks


def _file(
    resolution: float, smpte: bool, chunks: list[bytes]
) -> tuple[mido.MidiFile, dict[int, list[tuple[int, bool]]], int]:
    """What pretty_midi shall read; the pedal's changes by channel; how many notes are struck."""
    import mido

    tracks, tempos, n_struck = [], [], 0
    changes: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for number, chunk in enumerate(chunks, start=1):
        port, messages = 0, _programs(0)
        for tick, kind, data in _events(chunk, number):
            if kind == _PORT and data:
                port = data[0]
                messages += _programs(port)
            elif kind == _NAME:
                messages.append((tick, mido.MetaMessage("track_name", name=_text(data))))
            elif kind == _TEMPO and len(data) == 3 and any(data) and not smpte:
                tempo = mido.MetaMessage("set_tempo", tempo=int.from_bytes(data, "big"))
                tempos.append((tick, tempo))
            elif kind >= 0x80:
                message = mido.Message.from_bytes([kind, *(min(byte, 127) for byte in data)])
                if message.type == "program_change":
                    message = _program(port, message.channel, message.program)
                elif message.is_cc(PEDAL):
                    changes[16 * port + message.channel].append((tick, message.value >= PEDAL))
                elif message.type == "note_on":
                    n_struck += message.velocity > 0
                messages.append((tick, message))
        tracks.append(_timed(messages))
    file = mido.MidiFile(ticks_per_beat=resolution)
    # Players heed the tempi of all tracks, pretty_midi those of the first.
    file.tracks = [_timed(sorted(tempos, key=lambda event: event[0])), *tracks]
    return file, changes, n_struck


def _programs(port: int) -> list[tuple[int, Any]]:
    return [(0, _program(port, channel, 0)) for channel in range(16)]


def _program(port: int, channel: int, program: int) -> Any:
    """A change of program that tells the channel too, as pretty_midi's instruments do not."""
    import mido

    program += _PROGRAMS * (16 * port + channel)
    return mido.Message("program_change", skip_checks=True, channel=channel, program=program)


def _timed(messages: list[tuple[int, Any]]) -> Any:
    """A track of messages at their ticks."""
    import mido

    track, before = mido.MidiTrack(), 0
    for tick, message in messages:
        message.time, before = tick - before, tick
        track.append(message)
    track.append(mido.MetaMessage("end_of_track"))
    return track


def _events(chunk: bytes, number: int) -> Iterator[tuple[int, int, bytes]]:
    """Tick, kind and data of a track's events: meta events are of kind 0 to 127, others have their
    status. mido reads no track with a meta event that it cannot decode."""
    place, tick, status = 0, 0, 0

    def take(n: int) -> bytes:
        nonlocal place
        data, place = chunk[place : place + n], place + n
        if place > len(chunk):
            raise EOFError(f"track {number} ends inside an event: it is truncated")
        return data

    def quantity() -> int:
        value = 0
        while (byte := take(1)[0]) >= 0x80:
            value = value << 7 | byte & 0x7F
        return value << 7 | byte

    while place < len(chunk):
        tick += quantity()
        byte = take(1)[0]
        if byte in (0xF0, 0xF7, 0xFF):
            kind = take(1)[0] if byte == 0xFF else 0xFF
            data = take(quantity())
            if kind == _END:
                return
            if kind < 0x80:
                yield tick, kind, data
        elif byte < 0xF0:
            first = b"" if byte >= 0x80 else bytes([byte])
            status = byte if byte >= 0x80 else status
            if not status:
                raise ValueError(f"track {number} begins with data of no event")
            length = 1 if status & 0xE0 == 0xC0 else 2
            yield tick, status, first + take(length - len(first))
        elif byte < 0xF8:
            raise ValueError(f"track {number} holds {byte:#x}, which is no event of a file")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _pedalled(midi: Any, changes: dict[int, list[tuple[int, bool]]]) -> dict[int, float]:
    """By its id, the end of each note that the pedal of its channel, in whatever track, holds."""
    strikes: dict[tuple[int, int], list[float]] = defaultdict(list)
    for instrument in midi.instruments:
        for note in instrument.notes:
            bisect.insort(strikes[instrument.program // _PROGRAMS, note.pitch], note.start)
    ends = {}
    for instrument in midi.instruments:
        channel = instrument.program // _PROGRAMS
        pedal = sorted((midi.tick_to_time(tick), down) for tick, down in changes[channel])
        times = [time for time, _ in pedal]
        releases = [time for time, down in pedal if not down]
        last = max([instrument.get_end_time(), *times])
        for note in instrument.notes:
            latest = bisect.bisect_right(times, note.end) - 1
            if latest >= 0 and pedal[latest][1]:
                ends[id(note)] = min(
                    _first_from(releases, note.end, last),
                    _first_from(strikes[channel, note.pitch], note.end, last),
                )
    return ends


def _first_from(times: list[float], start: float, default: float) -> float:
    index = bisect.bisect_left(times, start)
    return times[index] if index < len(times) else max(start, default)
