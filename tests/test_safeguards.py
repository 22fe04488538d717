"""All safeguards together: one job with every kind of refusal, and no command that leads past them."""

import hashlib
import inspect
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from cloning import clip, heard
from conftest import MakeJob, srt
from made import LINES

pytest.importorskip("torch")

from dataclasses import replace

from pipeline import audio, lists
from pipeline.audio.codec import decode
from pipeline.cli import app
from pipeline.config import Job, load_job
from pipeline.run import run
from pipeline.safety.blocklist import calibrate, draft, sign
from pipeline.signing import SigningKey
from pipeline.voices.encoder import EMBEDDED, centre, open_encoder
from pipeline.watermark import detect
from pipeline.watermark.keys import read_keys

KEY = SigningKey(bytes(range(32)))
SCAM = (
    "Grandma, it's me. I had an accident with the car.", "They put me in jail.",
    "Please send the bail money right now.", "And don't tell Dad.",
)  # fmt: skip

# Commands that write sound, and what stands between them and an unmarked or unchecked file.
WRITERS = {
    "run": "pipeline.assemble.assemble commits a track after mark, detection, consent, blocklist, rules",
    "voices add": "writes a piece of the user's own recording: nothing synthetic",
}


@pytest.fixture
def catalogue(make_job: MakeJob, tmp_path: Path) -> Path:
    """A clean title, one with a blocked voice, one without consent, one with a scam script."""
    encoder, voices = open_encoder(EMBEDDED), {}
    calibration = replace(calibrate(encoder.id, heard(), 0.2), threshold=1.25, together=0.7)
    now = datetime.now(UTC)
    since, until = (f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in (now, now + timedelta(days=9)))
    body = draft(calibration, {"a public figure": [centre(pieces) for pieces in heard()["m7"]]})
    (tmp_path / "list.json").write_bytes(sign(body, KEY, version=3, issued=since, expires=until))
    for name, variant in (("anna", "f2"), ("tom", "m7"), ("bob", "m1")):
        path = clip(tmp_path / f"{name}.{variant}.wav")
        voices[name] = {"clip": path.name}
        if name != "bob":
            body = {
                "voice": name, "subject": name, "granted_by": name, "purposes": ["dubbing"], "languages": ["*"],
                "titles": ["*"], "not_before": "2020-01-01T00:00:00Z", "not_after": "2120-01-01T00:00:00Z",
                "clips": [hashlib.sha256(path.read_bytes()).hexdigest()], "statement": "c" * 64, "phrase": "Yes. 4",
            }  # fmt: skip
            (tmp_path / f"{name}.json").write_bytes(KEY.sign("consent", body))
            voices[name]["consent"] = f"{name}.json"
    (tmp_path / "voices.yaml").write_text(json.dumps({"voices": voices}))
    cast = {"clean": "anna", "blocked": "tom", "unconsented": "bob", "scam": "anna"}
    scripts = {title: {"en.srt": srt(*(SCAM if title == "scam" else LINES))} for title in cast}
    return make_job(
        scripts, titles={title: {"cast": {"": voice}} for title, voice in cast.items()}, voices="voices.yaml",
        engine="cloning:Cloning", default_voice=None, consent={"issuers": [KEY.public]},
        blocklist={"url": "list.json", "issuers": [KEY.public]},
    )  # fmt: skip


def test_the_clean_title_is_delivered_and_three_are_refused_with_reasons(catalogue: Path, ray_session: None) -> None:
    lists.forget()
    summary = run(load_job(str(catalogue)))
    assert summary.exit_code == 3
    states = {t["title"]: t["state"] for t in summary.tracks}
    assert states == {"clean": "delivered", "blocked": "refused", "unconsented": "refused", "scam": "refused"}
    told = {row["title"]: f"{row['found']} {row['expected']}" for row in summary.failed}
    assert "found the voice of 'a public figure', which is blocked" in told["blocked"]
    assert "voice 'bob': found no consent" in told["unconsented"]
    assert "en.relative-in-distress" in told["scam"]

    out = catalogue.parent / "out"
    assert {p.name for p in out.iterdir()} - {".tmp"} == {"clean", "takes", "jobs"}
    manifest = json.loads((out / "clean/en/manifest.json").read_text())
    assert len(list(out.glob("takes/*/*.flac"))) == len(LINES)
    spoken = b"".join(path.read_bytes() for path in out.glob("takes/*/*.flac"))
    assert b"tom@" not in spoken
    assert b"bob@" not in spoken
    assert manifest["consents"][0]["voice"] == "anna"
    assert manifest["blocklist"]["version"] == 3
    assert manifest["rules"]["pack"] == "en"
    assert manifest["watermark"]["payload"]
    assert manifest["disclosure"]["c2pa"] == "embedded"
    refused = (out / "jobs/test/failed.jsonl").read_text()
    assert all(title in refused for title in ("blocked", "unconsented", "scam"))
    ended = json.loads(sorted((out / "jobs/test/audit").iterdir())[-1].read_text())
    assert {row["title"] for row in ended["about"]["refused"]} == {"blocked", "unconsented", "scam"}


SWITCHES = ("watermark", "consent", "blocklist", "rules", "disclosure")


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_check_that_is_switched_off_leaves_its_trace(catalogue: Path, ray_session: None, switch: str) -> None:
    lists.forget()
    catalogue.write_text(json.dumps({**yaml.safe_load(catalogue.read_text()), switch: "off"}))
    run(load_job(str(catalogue)))
    out = catalogue.parent / "out"
    manifest = json.loads((out / "clean/en/manifest.json").read_text())
    assert manifest[{"consent": "consents"}.get(switch, switch)] == "off"
    for entry in sorted((out / "jobs/test/audit").iterdir()):
        assert json.loads(entry.read_text())["about"][switch] == "off"
    marked = detect(*decode(out / "clean/en/dub.flac"), read_keys(None)[0])
    assert bool(marked and marked[0].p < 1e-9) == (switch != "watermark")


def test_no_other_switch_exists() -> None:
    """A section of the job file that can be off is one of those above."""
    off = {
        name
        for name, field in Job.model_fields.items()
        if "_off" in str(field.metadata) or "_switch" in str(field.metadata)
    }
    assert off == set(SWITCHES)


def commands() -> dict[str, Any]:
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {part}": made for part, made in inner.items()} if inner else {name: command}
    return found


def test_no_command_writes_sound_past_the_checks() -> None:
    """What a command's module can reach that encodes sound is known, command by command."""
    writing = ("Encoder(", "encode_take(", "soundfile.write(", "assemble(", "run_job(")
    found = set()
    for name, command in commands().items():
        source = inspect.getsource(inspect.unwrap(command.callback))
        if any(call in source for call in writing):
            found.add(name)
    assert found == set(WRITERS)


def test_only_the_assembly_encodes_deliveries_and_only_speak_writes_takes() -> None:
    """Every place in the product that encodes sound: a new one must be weighed here."""
    root = Path(audio.__file__).parents[1]
    places = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(
            call in path.read_text() for call in ("Encoder(path", "encode_take(", "soundfile.write(", "av.open(str(")
        )
    }
    assert places == {"assemble.py", "speak.py", "cli_voices.py", "audio/encoder.py", "audio/take.py"}
