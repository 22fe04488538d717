"""Files that several commands change at once."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.inputs import change_file

COUNT = """
import sys
from pipeline.inputs import change_file
print("ready", flush=True)
sys.stdin.read()  # all begin when the last one is ready
for n in range(50):
    change_file(sys.argv[1], lambda old: (old or b"") + f"{sys.argv[2]} {n}\\n".encode())
"""


def test_what_processes_add_at_once_is_all_there(tmp_path: Path) -> None:
    file = tmp_path / "list"
    command = [sys.executable, "-c", COUNT, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([*command, name], **pipes) for name in "abc"]  # type: ignore[call-overload]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0, 0]
    lines = file.read_text().splitlines()
    assert sorted(lines) == sorted(f"{name} {n}" for name in "abc" for n in range(50))
    assert [path.name for path in tmp_path.iterdir()] == ["list"]


def test_a_file_stays_as_it_is_where_nothing_can_be_made_of_it(tmp_path: Path) -> None:
    file = tmp_path / "list"

    def refuse(old: bytes | None) -> bytes:
        raise ValueError(f"found {old!r}")

    for content in (None, b"old"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=f"found {content!r}"):
            change_file(str(file), refuse)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"list": b"old"}


def test_what_a_killed_command_left_is_not_in_the_next(tmp_path: Path) -> None:
    (tmp_path / ".list.new").write_bytes(b"half of so")
    assert change_file(str(tmp_path / "list"), lambda old: b"all") == b"all"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"list": b"all"}


def test_a_link_leads_to_the_file_that_is_changed(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "list").symlink_to(tmp_path / "shared" / "list")
    change_file(str(tmp_path / "list"), lambda old: b"new")
    assert (tmp_path / "shared" / "list").read_bytes() == b"new"


def test_threads_of_one_process_wait_for_each_other(tmp_path: Path) -> None:
    file = str(tmp_path / "list")

    def add(number: int) -> None:
        change_file(file, lambda old: json.dumps([*json.loads(old or b"[]"), number]).encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(40)))
    assert sorted(json.loads((tmp_path / "list").read_bytes())) == list(range(40))
