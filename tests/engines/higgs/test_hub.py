"""Finding models: folders, the hub's local cache, a hub that answers, and one that does not."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.engines.higgs.hub import LICENCE, locate

ID, COMMIT = "bosonai/higgs-tts-3-4b", "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"weights", "README.md": b"not needed",
}  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as a download asks for, with one model at one commit."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "gated" in path:
            self._answer(403, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"})
        elif "unknown" in path:
            self._answer(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})
        elif ID not in path:  # to a token that has expired
            self._answer(401, {"error": "Invalid username or password."}, {})
        elif COMMIT not in path:
            self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        elif f"/revision/{COMMIT}" in path:
            siblings = [{"rfilename": name} for name in FILES]
            self._answer(200, {"id": ID, "sha": COMMIT, "siblings": siblings}, {})
        elif f"/tree/{COMMIT}" in path:
            entries = [{"type": "file", "path": n, "size": len(d), "oid": _etag(d)} for n, d in FILES.items()]
            self._answer(200, entries, {})
        else:
            data = FILES[path.rpartition("/")[2]]
            self._answer(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(data)}"'})

    do_HEAD = do_GET

    def _answer(self, status: int, body: object, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(call: str, cache: Path, **variables: str) -> tuple[str, str]:
    """What a call of the module returns in a process of its own (the hub's client reads its variables once), or the
    error that it raises; and what it prints."""
    code = (
        f"from pipeline.engines.higgs.hub import *\nimport sys\n"
        f"try: found = {call}\nexcept (ValueError, RuntimeError) as e: found = f'{{type(e).__name__}}: {{e}}'\n"
        f"print('\\0' + str(found))"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    printed, _, found = done.stdout.partition("\0")
    return found.strip() or done.stderr, printed


def cached(home: Path, files: dict[str, bytes]) -> Path:
    """A model in the cache as the hub's client leaves it: blobs, links to them by name, and a branch."""
    model = home / "hub" / f"models--{ID.replace('/', '--')}"
    snapshot = model / "snapshots" / COMMIT
    for folder in (snapshot, model / "blobs", model / "refs"):
        folder.mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    for name, data in files.items():
        (model / "blobs" / _etag(data)).write_bytes(data)
        (snapshot / name).symlink_to(Path("../../blobs") / _etag(data))
    return snapshot


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "higgs").mkdir(parents=True)
    assert locate(str(tmp_path), "") == tmp_path
    assert locate("models/higgs", "") == Path("models/higgs")
    assert locate("~/models/higgs", "") == tmp_path / "models" / "higgs"


@pytest.mark.parametrize(
    "model", ["", "higgs", "/nowhere/to/be/found", "./higgs/v3", "../v3", "a/b/c", "s3://a/b", "a b/c"]
)
def test_what_is_neither_folder_nor_model_is_told(model: str) -> None:
    with pytest.raises(
        ValueError, match=r"engine\.options\.model: found .*, expected a checkpoint folder that is there"
    ):
        locate(model, COMMIT)
    with pytest.raises(ValueError, match=r"engine\.options\.codec: found "):
        locate(model, COMMIT, "codec")


@pytest.mark.parametrize("revision", ["", "main", "v3", COMMIT[:7], COMMIT.upper(), COMMIT + "0", COMMIT + "\n"])
def test_a_revision_that_may_move_is_told_and_where_a_commit_is_found(revision: str) -> None:
    with pytest.raises(ValueError, match=r"engine\.options\.revision: found ") as caught:
        locate(ID, revision)
    told = f"expected the commit of {ID} to use, 40 hexadecimal digits from https://huggingface.co/{ID}/commits/main"
    assert told in str(caught.value)


def test_a_model_in_the_cache_is_found_without_asking(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, FILES)
    found, _ = ask(f"locate({ID!r}, {COMMIT!r})", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert found == str(snapshot)


def test_another_commit_in_the_cache_is_not_taken(tmp_path: Path) -> None:
    cached(tmp_path, FILES)
    assert ask(f"locate({ID!r}, {COMMIT[::-1]!r})", tmp_path)[0] == "None"


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_download_that_broke_off_counts_as_none(tmp_path: Path, missing: str) -> None:
    cached(tmp_path, {name: data for name, data in FILES.items() if name != missing})
    assert ask(f"locate({ID!r}, {COMMIT!r})", tmp_path)[0] == "None"


def test_all_shards_of_the_index_must_be_there(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    files = {**FILES, "model.safetensors.index.json": json.dumps(index).encode(), "one.safetensors": b"1"}
    snapshot = cached(tmp_path, files)
    assert ask(f"locate({ID!r}, {COMMIT!r})", tmp_path)[0] == "None"
    (snapshot / "two.safetensors").write_bytes(b"2")
    assert ask(f"locate({ID!r}, {COMMIT!r})", tmp_path)[0] == str(snapshot)


@pytest.mark.parametrize("accepted", ["False", "'yes'", "1", "None"])
def test_nothing_is_fetched_before_the_licence_is_accepted(tmp_path: Path, accepted: str) -> None:
    with serve() as address:
        found, printed = ask(f"fetch({ID!r}, {COMMIT!r}, {accepted})", tmp_path, HF_ENDPOINT=address)
    assert found.startswith("ValueError: engine.options.accept_licence: found ")
    assert "Boson Higgs TTS 3 Research and Non-Commercial License" in found
    assert "attribution to Boson AI" in found
    assert not printed
    assert not list(tmp_path.iterdir())


def test_a_model_is_fetched_once_accepted_and_then_found(tmp_path: Path) -> None:
    with serve() as address:
        found, printed = ask(f"fetch({ID!r}, {COMMIT!r}, True)", tmp_path, HF_ENDPOINT=address)
    folder = Path(found)
    assert folder.name == COMMIT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: data for name, data in FILES.items() if name != "README.md"
    }
    assert LICENCE in printed
    assert ask(f"locate({ID!r}, {COMMIT!r})", tmp_path, HF_HUB_OFFLINE="1")[0] == found


REFUSED = {
    ID: (COMMIT[::-1], "the hub has no such revision"),
    "bosonai/unknown": (COMMIT, "the hub does not show it; accept its terms at https://huggingface.co/bosonai/unknown"),
    "bosonai/other": (
        COMMIT,
        "the hub does not show it; accept its terms at https://huggingface.co/bosonai/other and set",
    ),
    "bosonai/gated": (COMMIT, "the hub does not show it; accept its terms at https://huggingface.co/bosonai/gated"),
}


@pytest.mark.parametrize("model", REFUSED)
def test_what_the_hub_refuses_is_told(tmp_path: Path, model: str) -> None:
    revision, told = REFUSED[model]
    with serve() as address:
        found, _ = ask(f"fetch({model!r}, {revision!r}, True)", tmp_path, HF_ENDPOINT=address)
    assert found.startswith(f"RuntimeError: {model} at {revision} cannot be downloaded: {told}")
    assert found.endswith(f"--revision {revision} --local-dir FOLDER, and give FOLDER as engine.options.model")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "refused"),
        ({"HF_ENDPOINT": "http://hub.invalid"}, ""),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_without_a_network_it_says_so_at_once(tmp_path: Path, variables: dict[str, str], told: str) -> None:
    begun = time.monotonic()
    found, _ = ask(f"fetch({ID!r}, {COMMIT!r}, True)", tmp_path, **variables)
    assert time.monotonic() - begun < 15  # of which most starts Python; a download alone would try for 23 s
    assert found.startswith(f"RuntimeError: {ID} at {COMMIT} cannot be downloaded: ")
    assert told in found
    assert f"hf download {ID} --revision {COMMIT} --local-dir FOLDER" in found
    assert "\n" not in found
