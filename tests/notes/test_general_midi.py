"""Names and numbers of General MIDI."""

from __future__ import annotations

from pathlib import Path

import pytest

from dds_fast.notes.general_midi import drum_note, numbers, program, read


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("kick", "Kick Drum", "bd", "BassDrum", "bass_drum 2"), 36),
        (("snare", "SD", "Snare_Top"), 38),
        (("hat", "hat_closed", "HiHat", "closed hh", "HH"), 42),
        (("hat_open", "OpenHat", "hihat-open", "open hh"), 46),
        (("pedal_hat", "HatPedal"), 44),
        (("tom_low", "LowTom"), 45),
        (("tom_high", "hi tom"), 50),
        (("floor tom",), 41),
        (("tom", "tom2"), 47),
        (("cowbell", "cow_bell"), 56),
        (("ride bell",), 53),
        (("ride",), 51),
        (("crash", "cymbal"), 49),
        (("rimshot",), None),
        (("violin", "strombone", "that", "60", ""), None),
    ],
)
def test_drums(names: tuple[str, ...], note: int | None) -> None:
    assert {name: drum_note(name) for name in names} == dict.fromkeys(names, note)


def test_programs() -> None:
    assert [program(name) for name in ("piano", "violin", "Marimba", "x")] == [0, 40, 12, 0]


class TestNumbers:
    def test_what_nobody_knows_gets_notes_of_its_own(self) -> None:
        found = numbers(["blip", "blop", "kick", 60])
        assert found == {"blip": 82, "blop": 83, "kick": 36}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"drum": 36}, "'drum' is no source"),
            ({"kick": 128}, "MIDI number of kick"),
            ({"kick": "Kick"}, "no drum 'Kick'"),
            ({"guitar": "Lute"}, "no instrument 'Lute'"),
        ],
    )
    def test_wrong_ones_are_named(self, given: dict[str, int | str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            numbers(["kick", "guitar/60"], given)

    def test_too_many_drums(self) -> None:
        with pytest.raises(ValueError, match="give them numbers"):
            numbers([f"blip{n}" for n in range(47)])


class TestRead:
    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "midi.json").write_text('{"kick": 35, "guitar": "Acoustic Bass"}')
        given = read(str(tmp_path / "midi.json"))
        assert numbers(["kick", "guitar/60"], given) == {"kick": 35, "guitar": 32}

    @pytest.mark.parametrize("content", ["[36]", '{"kick": true}', '{"kick": [36]}', "kick"])
    def test_bad_files(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "midi.json").write_text(content)
        with pytest.raises(ValueError, match=r"midi\.json"):
            read(str(tmp_path / "midi.json"))

    def test_no_file(self) -> None:
        with pytest.raises(FileNotFoundError, match="kick:36"):
            read("kick:36")
