"""The only door to files: local folders, a real S3 server and a web server."""

import pickle
import random
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import web
from proxy import FaultProxy

from pipeline.store import Store, StoreError, canonical, digest, pretty, read_file


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "out"))
    return on_s3(request.getfixturevalue("s3_server"))


def on_s3(server: Any) -> Store:
    name = f"bucket-{uuid.uuid4().hex}"
    server.bucket(name)
    return Store(f"s3://{name}/out", server.storage_options)


def test_a_server_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(StoreError, match=r"cannot open ftp://127\.0\.0\.1:1"):
        Store("ftp://127.0.0.1:1/folder")


def test_what_is_written_is_read(store: Store) -> None:
    data = bytes(range(256)) * 1000
    store.write("a/b/file.bin", data)
    assert store.read("a/b/file.bin") == data
    assert store.sizes() == {"a/b/file.bin": 256000}
    store.write("a/b/file.bin", b"")
    assert store.read("a/b/file.bin") == b""


def test_names_may_be_of_any_script(store: Store) -> None:
    for name in ("été/映画 1.txt", "a+b&c=d.txt", "50%.txt", "what?.txt", "#1.txt", "[a].txt", "a*.txt"):
        store.write(name, name.encode())
        assert store.read(name) == name.encode()
    assert len(store.sizes()) == 7


def test_an_open_file_can_be_sought(store: Store) -> None:
    store.write("file", b"0123456789")
    with store.open("file") as file:
        assert file.seek(7) == 7
        assert file.read() == b"789"


def test_put_moves_a_file(store: Store, tmp_path: Path) -> None:
    source = Path(store.workplace() or tmp_path) / "source"
    source.write_bytes(b"new" * 100_000)
    store.write("a/file", b"old")
    store.put(source, "a/file")
    assert store.read("a/file") == b"new" * 100_000
    assert not source.exists()


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.write("a/file", b"x")
    store.delete("a/file")
    store.delete("a/file")
    store.delete("b/never")
    assert store.sizes() == {}


def test_sizes_are_those_of_one_folder_alone(store: Store) -> None:
    for name in ("a/fr/x", "a/fr/deep/y", "a/fr-be/x", "ab/x"):
        store.write(name, name.encode())
    assert store.sizes("a/fr") == {"a/fr/x": 6, "a/fr/deep/y": 11}
    assert store.sizes("a") == {"a/fr/x": 6, "a/fr/deep/y": 11, "a/fr-be/x": 9}
    assert store.sizes("nope") == {}


def test_sizes_are_never_remembered(store: Store) -> None:
    other = Store(store.url, store.options)
    assert store.sizes() == {}
    other.write("a", b"x")
    assert store.sizes() == {"a": 1}
    other.write("a", b"xyz")
    assert store.sizes() == {"a": 3}


def test_json_is_read_or_none(store: Store) -> None:
    store.write("good.json", pretty({"name": "été"}))
    store.write("half.json", b'{"name": ')
    store.write("binary.json", b"\xff\xfe\x00")
    store.write("deep.json", b"[" * 100_000)
    assert store.read_json("good.json") == {"name": "été"}
    assert [store.read_json(name) for name in ("half.json", "binary.json", "deep.json", "none.json")] == [None] * 4


def test_a_missing_file_is_named(store: Store) -> None:
    for look in (store.read, store.open):
        with pytest.raises(FileNotFoundError) as caught:
            look("a/nope")
        assert str(caught.value) == f"{store.url}/a/nope does not exist"
    with pytest.raises(FileNotFoundError):
        read_file(f"{store.url}/nope", store.options)


def test_a_store_travels_to_other_processes(store: Store) -> None:
    store.write("file", b"x")
    other = pickle.loads(pickle.dumps(store))
    assert (other.url, other.options, other.read("file")) == (store.url, store.options, b"x")


def test_a_wrong_secret_is_refused_at_once_and_says_what_to_check(s3_server: Any) -> None:
    right = on_s3(s3_server)
    right.write("file", b"x")
    wrong = Store(right.url, {**right.options, "secret": "wrong"})
    for action, call in {
        "read": lambda: wrong.read("file"),
        "write": lambda: wrong.write("file", b"y"),
        "list": lambda: wrong.sizes(),
    }.items():
        with pytest.raises(StoreError, match="check the access key, the secret and the bucket's policy") as caught:
            call()
        assert str(caught.value).startswith(f"cannot {action} {right.url}")
    assert right.read("file") == b"x"


def test_a_missing_bucket_is_named(s3_server: Any) -> None:
    store = Store(f"s3://nope-{uuid.uuid4().hex}/out", s3_server.storage_options)
    with pytest.raises(StoreError, match="the bucket or folder does not exist") as caught:
        store.write("file", b"x")
    assert str(caught.value).startswith(f"cannot write {store.url}/file: ")
    with pytest.raises(FileNotFoundError):
        store.read("file")
    assert store.sizes() == {}


@pytest.mark.parametrize("kind", ["ranges", "whole"])
@pytest.mark.parametrize("size", [0, 1, 12_000_000])
def test_a_file_of_a_web_server_is_sought_and_read(tmp_path: Path, kind: str, size: int) -> None:
    """By servers that send ranges, and by those that only send whole files."""
    data = random.Random(size).randbytes(size)
    (tmp_path / kind).mkdir()
    (tmp_path / kind / "film.mkv").write_bytes(data)
    with web.serve(tmp_path) as server, Store(f"http://127.0.0.1:{server.server_port}/{kind}").open("film.mkv") as file:
        assert file.seek(size // 2) == size // 2
        assert file.read(100) == data[size // 2 :][:100]
        assert file.seek(0) == 0
        assert file.read() == data


@pytest.mark.parametrize("kind", ["ranges", "whole"])
def test_faults_on_the_way_from_a_web_server_are_overcome_or_told(tmp_path: Path, kind: str) -> None:
    data = random.Random(1).randbytes(12_000_000)
    (tmp_path / kind).mkdir()
    (tmp_path / kind / "film.mkv").write_bytes(data)
    told = []
    with web.serve(tmp_path) as server:
        for seed in range(10):
            with FaultProxy("127.0.0.1", server.server_port, seed, reset=0.1, truncate=0.1, error503=0.1) as proxy:
                try:
                    with Store(f"{proxy.endpoint}/{kind}").open("film.mkv") as file:
                        assert file.read() == data
                except StoreError as error:
                    told.append(f"{proxy.endpoint}/{kind}/film.mkv: " in str(error))
                assert proxy.counts["requests"]
    assert all(told)
    assert len(told) <= 5


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "401 Unauthorized"), (403, "403 Forbidden"), (503, "503 Service Unavailable")]
)
def test_what_a_web_server_refuses_is_told_and_not_called_missing(tmp_path: Path, status: int, reason: str) -> None:
    with web.serve(tmp_path) as server:
        store = Store(f"http://127.0.0.1:{server.server_port}/status")
        for read in (store.open, store.read):
            with pytest.raises(StoreError, match=rf"/status/{status}: the server answers {reason}$"):
                read(str(status))
        with pytest.raises(FileNotFoundError, match="/status/404 does not exist"):
            store.open("404")
    with pytest.raises(StoreError, match=r"film\.mkv: Cannot connect to host 127\.0\.0\.1"):
        store.open("film.mkv")


def test_a_local_refusal_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/out/file: "):
        Store(str(tmp_path / "out")).write("file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=f"cannot read {tmp_path}/folder: "):
        Store(str(tmp_path)).read("folder")


def test_an_unknown_protocol_is_told() -> None:
    with pytest.raises(StoreError, match="cannot open nope://bucket: "):
        Store("nope://bucket")


def test_a_reader_never_sees_half_of_a_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("file", b"0" * 300_000)
    over = threading.Event()

    def write() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            store.write("file", b"%d" % (turn % 10) * (300_000 + 1000 * (turn % 10)))

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        for _ in range(2000):
            data = store.read("file")
            assert data == data[:1] * (300_000 + 1000 * int(data[:1]))
            seen.add(data[:1])
    finally:
        over.set()
        thread.join()
    assert len(seen) > 1


KILLED = """
import resource, signal, sys
from pathlib import Path
from pipeline.store import Store
store = Store(sys.argv[1])
# The kernel kills the process in the middle of its write, once it has written a megabyte.
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
store.write("a/file", b"x" * (5 << 20))
"""


def test_a_writer_that_is_killed_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a/old", b"old")
    assert subprocess.run([sys.executable, "-c", KILLED, store.url], check=False).returncode < 0
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "old"]
    assert [(path.parent, path.stat().st_size) for path in left] == [(tmp_path / ".tmp", 1 << 20)]
    assert store.sizes("a") == {"a/old": 3}
    store.sweep(age=-1)
    assert store.sizes() == {"a/old": 3}


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_text("x")
    with pytest.raises(StoreError):
        store.write("taken", b"x")
    assert store.sizes() == {"taken/inside": 1}


def test_equal_values_give_equal_bytes() -> None:
    assert canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    assert digest({"b": 1, "a": [1.5, None]}) == digest({"a": [1.5, None], "b": 1})
    assert digest({"a": 1}) != digest({"a": 2})
