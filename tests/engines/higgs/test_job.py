"""A job file with `engine: higgs`, from the script to the track."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_job
from pipeline.run import run

DUB = str(Path(sys.executable).with_name("dub"))
SCRIPT = "1\n00:00:01,000 --> 00:00:04,000\nWho?\n\n2\n00:00:06,000 --> 00:00:09,000\nOui, non\n"


@pytest.fixture
def job(make_job: Any, checkpoints: dict[str, Path], clips: dict[str, str]) -> Path:
    options = {
        "model": str(checkpoints["v3"]), "device": "cpu", "rows": 4, "length": 640, "quantization": "nf4",
        "voices": {"anna": {"clip": clips["anna"], "text": "This is the voice of Anna."}},
    }  # fmt: skip
    keys = {"engine": {"name": "higgs", "options": options}, "default_voice": "anna", "speak": {"replicas": 1},
            "consent": "off", "blocklist": "off"}  # fmt: skip
    return make_job({"tale": {"en.srt": SCRIPT}}, **keys)


def test_a_job_writes_its_track_and_a_rerun_does_nothing(job: Path, ray_session: None) -> None:
    summary = run(load_job(str(job)))
    assert (summary.exit_code, summary.spoken, summary.failed) == (0, 2, [])
    folder = job.parent / "out" / "tale" / "en"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["engine"]["engine"] == "higgs"
    assert manifest["engine"]["quantization"] == "nf4"
    assert (folder / "dub.flac").stat().st_size > 10_000
    assert run(load_job(str(job))).idle


def test_the_plan_shows_memory_and_licence(job: Path) -> None:
    done = subprocess.run([DUB, "plan", str(job)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "with 4 rows of 640 positions, quantization nf4 needs" in done.stdout
    assert "research and non-commercial use" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"device": "cuda"}, "found no GPU on this worker"),
        ({"model": "nowhere"}, "engine.options.model: found 'nowhere'"),
        ({"memory": 0.5}, "engine.options.memory: found 0.5 GB for a replica that needs"),
        ({"voices": {}}, "engine.options.voices: found nothing"),
    ],
)
def test_what_is_wrong_ends_with_one_sentence(change: dict[str, Any], told: str, job: Path) -> None:
    import yaml

    raw = yaml.safe_load(job.read_text())
    raw["engine"]["options"] |= change
    job.write_text(yaml.safe_dump(raw))
    done = subprocess.run([DUB, "run", str(job)], capture_output=True, text=True)
    assert told in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert not (job.parent / "out" / "tale").exists()
