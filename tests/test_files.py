"""Files and folders are written whole or not at all."""

import os
import stat
import threading

import numpy as np
import pytest

from sngan_hub.files import (
    append_json,
    read_json_lines,
    write_array,
    write_atomically,
    write_folder,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_old_files_place(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    write_json(path, {"a": "ü"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "ü"\n}\n'
    write_text(path, "b\n")
    assert path.read_text() == "b\n"
    assert write_atomically(path, lambda temporary: temporary.write_bytes(b"12")) == 2
    write_array(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert names(tmp_path) == ["a.json", "a.npy"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask  # as any new file


@pytest.mark.parametrize("cut", ["", '{"a": 1', "{", '"\u00fc'])
def test_a_line_that_a_kill_cut_off_is_removed_by_the_next(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    assert read_json_lines(path) == []
    append_json(path, {"first": "\u00fc"})
    with open(path, "a", encoding="utf-8") as file:
        file.write(cut)
    assert read_json_lines(path) == [{"first": "\u00fc"}]
    append_json(path, [2])
    append_json(path, 3)
    assert read_json_lines(path) == [{"first": "\u00fc"}, [2], 3] and path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("temporary", [None, ".writing"])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, temporary):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(place):
        assert place.parent == tmp_path and place.name.startswith(".")
        place.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail, temporary and tmp_path / temporary)
    assert names(tmp_path) == ["a"] and path.read_text() == "old"


def test_a_synced_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, names(tmp_path))))
    write_atomically(tmp_path / "a", lambda place: place.write_text("new"), tmp_path / ".writing", sync=True)
    assert synced == [(3, [".writing"])] and names(tmp_path) == ["a"]
    write_text(tmp_path / "b", "b")
    assert len(synced) == 1


def test_a_folder_takes_the_old_ones_place_or_nothing_changes(tmp_path):
    path = tmp_path / "new" / "a"
    write_folder(path, lambda folder: (folder / "one").write_text("1"))
    write_folder(path, lambda folder: (folder / "two").write_text("2"))
    assert names(path) == ["two"]

    def fail(folder):
        (folder / "three").write_text("3")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_folder(path, fail)
    assert names(path) == ["two"] and names(path.parent) == ["a"]


def test_a_folder_left_by_a_killed_process_is_not_part_of_the_next(tmp_path):
    left = tmp_path / ".left"
    left.mkdir()
    (left / "half").write_text("ha")
    write_folder(tmp_path / "a", lambda folder: (folder / "one").write_text("1"), left)
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["one"]


def test_writers_of_one_file_do_not_mix(tmp_path):
    path, both = tmp_path / "a", threading.Barrier(2)

    def write(letter):
        def slowly(temporary):
            with open(temporary, "w") as file:
                file.write(letter)
                file.flush()
                both.wait()
                file.write(letter)

        write_atomically(path, slowly)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("xx", "yy") and names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="fcntl is of Unix")
def test_a_file_is_synced_by_a_handle_that_may_write(tmp_path, monkeypatch):
    """Windows refuses another."""
    import fcntl

    modes = []
    monkeypatch.setattr(os, "fsync", lambda number: modes.append(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE))
    write_atomically(tmp_path / "a", lambda place: place.write_text("new"), sync=True)
    assert modes == [os.O_RDWR] and (tmp_path / "a").read_text() == "new"
