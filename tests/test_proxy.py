import hashlib
import random
from collections.abc import Iterator

import pytest
import s3fs
from botocore.exceptions import BotoCoreError

from tests.proxy import FaultProxy
from tests.s3 import S3Server

CLEAN = (OSError, BotoCoreError)  # what s3fs ends with; aiohttp's own errors would be neither


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        server.bucket("media")
        yield server


def filesystem(server: S3Server, proxy: FaultProxy, retries: int = 1) -> s3fs.S3FileSystem:
    """botocore repeats a request, and s3fs repeats that: one repeat below keeps the tests short."""
    options = server.options_for(proxy.endpoint)
    options["config_kwargs"]["retries"] = {"max_attempts": retries}
    return s3fs.S3FileSystem(**options, use_listings_cache=False)


def proxy_to(server: S3Server, seed: int = 0, **chances: float) -> FaultProxy:
    host, port = server.endpoint.removeprefix("http://").split(":")
    return FaultProxy(host, int(port), seed, **chances)


def content(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


def test_nothing_is_changed_without_faults(server, tmp_path):
    with proxy_to(server) as proxy:
        store = filesystem(server, proxy)
        for size in (0, 1, 70_000, 3_000_000):
            store.pipe_file(f"media/calm/{size}", content("calm", size))
            assert store.cat_file(f"media/calm/{size}") == content("calm", size)
            assert store.info(f"media/calm/{size}")["size"] == size
        (tmp_path / "large").write_bytes(content("large", 20_000_000))
        store.put_file(tmp_path / "large", "media/calm/large", chunksize=5 << 20)
        store.get_file("media/calm/large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content("large", 20_000_000)
        assert len(store.find("media/calm")) == 5
        store.rm_file("media/calm/0")
        assert not store.exists("media/calm/0")
        with pytest.raises(FileNotFoundError):
            store.cat_file("media/calm/0")
    assert set(proxy.counts) == {"requests"}


@pytest.mark.parametrize("fault", ["error500", "error503", "reset", "truncate"])
def test_a_sure_fault_is_a_clean_exception(server, fault, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with proxy_to(server, **{fault: 1.0}) as proxy:
        store = filesystem(server, proxy, retries=0)
        for size in (10, 2_000_000):
            with pytest.raises(CLEAN):
                store.pipe_file(f"media/{fault}", content(fault, size))
        with pytest.raises(CLEAN):
            store.cat_file("media/any")
        proxy.set(**{fault: 0.0})
        assert store.find("media/calm") is not None
    assert proxy.counts[fault] == proxy.counts["requests"] - 1


def test_faults_never_leave_a_partial_object(server, tmp_path):
    sizes = {f"media/storm/{i:02}": (700, 90_000, 1_500_000)[i % 3] for i in range(45)}
    (tmp_path / "large").write_bytes(content("large", 12_000_000))
    chances = {"reset": 0.07, "truncate": 0.05, "error500": 0.04, "error503": 0.04, "delay": 0.2}
    done, failed = set(), 0
    with proxy_to(server, seed=7, **chances) as proxy:
        store = filesystem(server, proxy)
        for path, size in sizes.items():
            try:
                store.pipe_file(path, content(path, size))
                done.add(path)
                assert store.cat_file(path) == content(path, size)
            except CLEAN:
                failed += 1
        for i in range(3):
            try:
                store.put_file(tmp_path / "large", f"media/storm/large{i}", chunksize=5 << 20)
                done.add(f"media/storm/large{i}")
            except CLEAN:
                failed += 1
    assert all(proxy.counts[fault] for fault in chances)
    assert len(done) > failed
    stored = {f"media/storm/{file.name}": file for file in (server.root / "media/storm").glob("[!.]*")}
    assert done <= stored.keys()
    for path, file in stored.items():
        expected = content("large", 12_000_000) if "large" in path else content(path, sizes[path])
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(expected).digest(), path


def test_the_same_seed_draws_the_same_faults(server):
    draws = []
    for seed in (3, 3, 4):
        with proxy_to(server, seed, reset=0.3, delay=0.5) as proxy:
            draws.append([proxy._draw() for _ in range(20)])
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(ValueError, match="no such faults"):
        proxy.set(hang=0.1)
