"""Fixtures: jobs in a temporary folder, one Ray for the session, a real S3 server."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # `import s3`, `import faulty`: the tests' own parts
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores; before anything imports NumPy

os.environ["DUBLINE_WATERMARK_KEY"] = "dubmark1:" + "A" * 43  # every job of the tests is marked

MakeJob = Callable[..., Path]


def pytest_itemcollected(item: pytest.Item) -> None:
    """With `-n`, a file stays in one process, and all that use Ray stay in one: there is one Ray."""
    fixtures = getattr(item, "fixturenames", ())
    item.add_marker(pytest.mark.xdist_group("ray" if "ray_session" in fixtures else item.nodeid.partition("::")[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses Ray comes first: it is one long piece of work for one process."""
    items.sort(key=lambda item: "ray_session" not in getattr(item, "fixturenames", ()))


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Write a job file with its catalogue and scripts; returns the path of the job file."""

    def make(scripts: dict[str, dict[str, str | bytes]], *, titles: dict[str, Any] | None = None, **keys: Any) -> Path:
        entries = []
        for title, by_name in scripts.items():
            files = {}
            for name, content in by_name.items():  # name: "fr.srt"
                path = tmp_path / f"{title}.{name}"
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
                files[name.split(".")[0]] = path.name
            entries.append({"id": title, "scripts": files, **(titles or {}).get(title, {})})
        (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump({"titles": entries}, allow_unicode=True))
        job = {"name": "test", "catalogue": "catalogue.yaml", "output": "out", **keys}
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        return tmp_path / "job.yaml"

    return make


@pytest.fixture
def make(make_job: MakeJob) -> Callable[..., Any]:
    """Make the track of one script: a Made."""
    from made import Made

    def make(script: str, name: str = "en.srt", missing: dict[str, str] | None = None, **keys: Any) -> Made:
        return Made(make_job({"a": {name: script}}, **keys), missing)

    return make


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    from s3 import S3Server

    with S3Server() as server:
        yield server


def srt(*texts: str, start: float = 1.0, span: float = 2.5, gap: float = 0.5) -> str:
    """A SubRip script with one cue a text."""

    def clock(seconds: float) -> str:
        ms = round(seconds * 1000)
        return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    cues = []
    for n, text in enumerate(texts):
        begin = start + n * (span + gap)
        cues.append(f"{n + 1}\n{clock(begin)} --> {clock(begin + span)}\n{text}\n")
    return "\n".join(cues)
