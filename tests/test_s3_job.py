"""The same job with catalogue, scripts and output on a real S3 server, and with a bad line to it."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloning import Cloning, clip
from conftest import MakeJob, srt
from proxy import FaultProxy
from s3 import S3Server

from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.parse import ConfigError
from pipeline.plan import plan
from pipeline.record import Summary
from pipeline.run import run
from pipeline.store import StoreError

DUB = str(Path(sys.executable).with_name("dub"))
SCRIPTS = {
    "a": {"fr.srt": srt("Bonjour.", "Il pleut."), "ar.srt": srt("صباح الخير.", "إنها تمطر.")},
    "b": {"zh.srt": srt("早上好。", "下雨了。"), "de.srt": srt("Guten Morgen.", "Es regnet.")},
}


def upload(server: S3Server, bucket: str, options: dict[str, Any]) -> str:
    """Put a job of two titles into a bucket; returns the URL of its job file."""
    folder = server.bucket(bucket)
    titles = []
    for title, scripts in SCRIPTS.items():
        for name, text in scripts.items():
            (folder / f"{title}.{name}").write_text(text)
        titles.append({"id": title, "scripts": {name.split(".")[0]: f"{title}.{name}" for name in scripts}})
    (folder / "catalogue.yaml").write_text(yaml.safe_dump({"titles": titles}))
    job = {"name": "s3", "catalogue": "catalogue.yaml", "output": "out", "storage_options": options}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return f"s3://{bucket}/job.yaml"


def dub(url: str, options: dict[str, Any]) -> Summary:
    return run(load_job(url, options))


def tracks(folder: Path) -> dict[str, str]:
    """Takes and tracks below a folder -> SHA-256."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "jobs" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check_whole(folder: Path) -> None:
    """Every take decodes, and every manifest names only files that are there, whole."""
    from pipeline.audio.codec import decode_take

    for take in folder.glob("takes/*/*.flac"):
        assert decode_take(take.read_bytes())[0].size
    for path in folder.glob("*/*/manifest.json"):
        for file in json.loads(path.read_text())["files"]:
            data = (path.parent / file["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])


@pytest.mark.usefixtures("ray_session")
def test_s3_and_a_local_folder_hold_the_same_bytes(s3_server: S3Server, make_job: MakeJob, tmp_path: Path) -> None:
    url = upload(s3_server, "whole", s3_server.storage_options)
    assert dub(url, s3_server.storage_options).exit_code == 0
    assert run(load_job(str(make_job(SCRIPTS)))).exit_code == 0
    remote, local = tracks(s3_server.root / "whole" / "out"), tracks(tmp_path / "out")
    assert len(local) == 8 + 4 * 4
    assert remote == local
    again = dub(url, s3_server.storage_options)
    assert (again.idle, again.spoken) == (True, 0)


def test_clips_are_read_with_the_options_of_the_job(s3_server: S3Server, make_job: MakeJob) -> None:
    """Consent, blocklist and engine alike: the bucket answers nobody without them."""
    folder = s3_server.bucket("clips")
    path = clip(folder / "anna.f2.wav")
    keys = {
        "engine": {"name": "cloning:Cloning", "options": {"voices": {"anna": {"clip": "s3://clips/anna.f2.wav"}}}},
        "default_voice": "anna", "consent": "off", "blocklist": "off",
    }  # fmt: skip
    job = load_job(str(make_job(SCRIPTS, **keys, storage_options=s3_server.storage_options)))
    tracks = list(plan(job, read_catalogue(job)))
    assert [track.errors for track in tracks] == [[]] * 4
    local = Cloning({"anna": {"clip": str(path)}})
    assert {voice for track in tracks for _, voice in track.voices} == {local.voice("anna")}
    with pytest.raises(ConfigError, match=r"s3://clips/anna\.f2\.wav, which cannot be read"):
        list(plan(load_job(str(make_job(SCRIPTS, **keys))), read_catalogue(job)))


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_line_to_s3_leaves_nothing_half_written(s3_server: S3Server, seed: int, tmp_path: Path) -> None:
    bucket = f"faulty{seed}"
    folder = s3_server.root / bucket / "out"
    host, port = s3_server.endpoint.removeprefix("http://").split(":")
    with FaultProxy(host, int(port), seed=seed) as proxy:
        options = s3_server.options_for(proxy.endpoint)
        url = upload(s3_server, bucket, options)
        proxy.set(delay=0.1, reset=0.08, truncate=0.05, error500=0.05, error503=0.05)
        for _ in range(3):
            with contextlib.suppress(StoreError):  # it may finish or fail, but no other way than this
                dub(url, options)
            check_whole(folder)
        assert sum(proxy.counts[fault] for fault in ("reset", "truncate", "error500", "error503")) > 5
        proxy.set(delay=0, reset=0, truncate=0, error500=0, error503=0)
        assert dub(url, options).exit_code == 0
    check_whole(folder)
    assert len(list(folder.glob("*/*/manifest.json"))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secret": "wrong"}, "check the access key, the secret and the bucket's policy"),
        ({"key": "nobody"}, "check the access key, the secret and the bucket's policy"),
    ],
)
def test_a_wrong_secret_is_a_clear_error(s3_server: S3Server, tmp_path: Path, change: Any, message: str) -> None:
    options = {**s3_server.storage_options, **change}
    upload(s3_server, "secret", options)
    job = {"name": "s3", "catalogue": "s3://secret/catalogue.yaml", "output": "s3://secret/out"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**job, "storage_options": options}))
    done = subprocess.run([DUB, "run", str(tmp_path / "job.yaml")], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr.startswith("dub: cannot read s3://secret/catalogue.yaml: refused")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert options["secret"] not in done.stderr


def test_a_missing_bucket_is_a_clear_error(s3_server: S3Server, tmp_path: Path) -> None:
    job = {"name": "s3", "catalogue": "s3://nowhere/catalogue.yaml", "output": "s3://nowhere/out"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**job, "storage_options": s3_server.storage_options}))
    done = subprocess.run([DUB, "run", str(tmp_path / "job.yaml")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "s3://nowhere/catalogue.yaml: found no such file" in done.stderr
