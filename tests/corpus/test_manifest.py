"""Which recordings a corpus has, and how they are shared out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import recording

from dds_fast.corpus import manifest

fsspec = pytest.importorskip("fsspec")


def test_folders_globs_lists_and_files(tmp_path: Path) -> None:
    a, b = recording(tmp_path / "cd1" / "a.wav"), recording(tmp_path / "cd2" / "deep" / "b.flac")
    (tmp_path / "cd1" / "cover.png").touch()
    listed = tmp_path / "list.txt"
    listed.write_text(f"# mine\ncd2/deep/b.flac\n\n{a}\ns3://bucket/c.mp3\n")
    assert manifest.find([tmp_path]) == [a, b]
    assert manifest.find([tmp_path / "*" / "*.wav", b, a]) == [a, b]
    assert manifest.find([listed]) == [b, a, "s3://bucket/c.mp3"]


def test_a_name_that_looks_like_a_glob(tmp_path: Path) -> None:
    path = recording(tmp_path / "take [1].wav")
    assert manifest.find([path]) == [path]


def test_a_list_of_parquet(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    names = ["/music/a.wav", "s3://bucket/b.wav"]
    parquet.write_table(pa.table({"recording": names, "year": [1, 2]}), tmp_path / "l.parquet")
    assert manifest.find([tmp_path / "l.parquet"]) == names


@pytest.mark.parametrize("name", ["gone.wav", "*.mp3", "empty"])
def test_what_stands_for_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no recordings"):
        manifest.find([tmp_path / name])


def test_urls(tmp_path: Path) -> None:
    """Found, told by their headers, and fetched with what lies beside them."""
    sound = Path(recording(tmp_path / "a.wav")).read_bytes()
    with fsspec.open("memory://corpus/x/a.wav", "wb") as file:
        file.write(sound)
    with fsspec.open("memory://corpus/x/a.txt", "wb") as file:
        file.write(b"0 1 60")
    (found,) = manifest.find(["memory://corpus"])
    assert found.startswith("memory://") and found.endswith("corpus/x/a.wav")
    assert manifest.find(["memory://corpus/*/*.wav"]) == [found]
    assert manifest.seconds([found]) == [0.3]
    with manifest.fetched(found, (".mid", ".txt")) as (path, labels):
        assert (path.name, path.read_bytes()) == ("a.wav", sound)
        assert labels is not None and labels.read_text() == "0 1 60"
    assert not path.exists()


def test_lengths_by_header(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("nothing")
    paths = [recording(tmp_path / "a.wav"), str(tmp_path / "bad.wav")]
    assert manifest.seconds(paths) == [0.3, 0.0]


def test_many_that_tell_no_length_are_many_batches() -> None:
    groups = manifest.batches([str(i) for i in range(200)], [0.0] * 200, longest=30.0)
    assert max(map(len, groups)) == manifest.MOST
    assert sorted(name for group in groups for name in group) == sorted(map(str, range(200)))
