"""What a track says of itself: tags that others read, a manifest that C2PA's reader validates, a spoken notice."""

import io
import json
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import c2pa
import mutagen
import mutagen.flac
import mutagen.mp3
import mutagen.mp4
import mutagen.oggopus
import numpy as np
import pytest
import soundfile
from conftest import MakeJob, srt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from made import LINES, Made, Make, planned, spoken
from test_provenance import chain_of

from pipeline import notice
from pipeline.assemble import assemble, delivered
from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.engines import open_engine
from pipeline.parse import ConfigError
from pipeline.plan import plan
from pipeline.store import Store
from pipeline.text.languages import match
from pipeline.watermark import Payload

FORMATS = {"flac": "audio/flac", "wav": "audio/wav", "mp3": "audio/mpeg", "m4a": "audio/mp4", "opus": "audio/ogg"}


def tags_of(path: Path) -> str:
    """Every tag of a file as another library than ours reads it."""
    if path.suffix == ".wav":
        with soundfile.SoundFile(path) as file:
            return f"{file.comment} {file.title}"
    kinds: dict[str, Any] = {
        ".flac": mutagen.flac.FLAC, ".mp3": mutagen.mp3.MP3, ".m4a": mutagen.mp4.MP4, ".opus": mutagen.oggopus.OggOpus,
    }  # fmt: skip
    found = kinds[path.suffix](path)
    return " ".join(str(value) for value in (found.tags or {}).values()) if path.suffix != ".flac" else str(found.tags)


def validated(folder: Path, name: str, data: bytes | None = None) -> dict[str, Any]:
    """What C2PA's own reader makes of a track, in it or beside it."""
    path, beside = folder / name, folder / f"{name}.c2pa"
    stream, manifest = io.BytesIO(data or path.read_bytes()), beside.read_bytes() if beside.exists() else None
    with c2pa.Reader(FORMATS[path.suffix[1:]], stream, manifest_data=manifest) as reader:
        found: dict[str, Any] = json.loads(reader.json())
        return {**found["manifests"][found["active_manifest"]], "state": reader.get_validation_state()}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_carries_tags_and_a_manifest_that_validates(make: Make, format: str) -> None:
    made = make(srt(*LINES), delivery={"format": format, "bits": 16})
    name = f"dub.{format}"
    found = tags_of(made.folder / name)
    assert "Synthetic speech by espeak" in found
    assert made.track.digest[:16] in found
    manifest = validated(made.folder, name)
    assert manifest["state"] == "Valid"
    assert manifest["signature_info"]["issuer"] == "dubline DEVELOPMENT certificate - proves nothing"
    said = {entry["label"]: entry["data"] for entry in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert said["c2pa.soft-binding"]["blocks"][0]["value"] == Payload.of(made.job.key, made.track.digest).hex()
    assert said["io.github.dubline.track"]["track"] == made.track.digest
    where = "sidecar" if format == "opus" else "embedded"
    assert made.manifest["disclosure"] == {
        "c2pa": where, "certificate": "dubline DEVELOPMENT certificate - proves nothing", "notice": False,
    }  # fmt: skip
    sizes = {path.name: path.stat().st_size for path in made.folder.iterdir()}
    assert (f"{name}.c2pa" in sizes) == (format == "opus")
    assert delivered(made.manifest, made.track.digest, sizes)
    assert np.abs(made.audio()).max() > 0.01


@pytest.mark.parametrize("format", ["flac", "opus"])
def test_a_changed_byte_of_sound_makes_it_invalid(make: Make, format: str) -> None:
    made = make(srt(*LINES), delivery={"format": format})
    data = bytearray((made.folder / f"dub.{format}").read_bytes())
    data[-2000] ^= 1
    assert validated(made.folder, f"dub.{format}", bytes(data))["state"] == "Invalid"


def test_off_leaves_tags_and_watermark_and_is_another_track(make: Make) -> None:
    on, off = make(srt(*LINES)), make(srt(*LINES), disclosure="off", output="off")
    assert off.manifest["disclosure"] == "off"
    assert off.track.digest != on.track.digest
    assert "Synthetic speech" in tags_of(off.folder / "dub.flac")
    assert off.figures["watermark_p"] < 1e-9
    with pytest.raises(c2pa.C2paError):
        validated(off.folder, "dub.flac")


def test_the_users_certificate_signs_and_its_key_is_not_shown(make_job: MakeJob, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "chain.pem").write_bytes(chain_of(key))
    (tmp_path / "key.pem").write_bytes(secret)
    path = make_job({"a": {"en.srt": srt(*LINES)}}, disclosure={"certificate": "chain.pem", "key": "key.pem"})
    made = Made(path)
    assert made.manifest["disclosure"]["certificate"] == "Ada's dubs"
    assert validated(made.folder, "dub.flac")["state"] == "Valid"
    text = f"{made.job!r}{made.job.model_dump_json()}{made.job.certificate!r}{made.manifest}"
    assert "PRIVATE" not in text
    assert secret.splitlines()[1].decode() not in text
    again = pickle.loads(pickle.dumps(made.job))
    assert again.certificate == made.job.certificate


@pytest.mark.parametrize(
    ("disclosure", "told"),
    [
        ({"certificate": "chain.pem"}, r"disclosure\.key: found nothing, expected both"),
        ({"key": "key.pem"}, r"disclosure\.certificate: found nothing, expected both"),
        ({"certificate": "none.pem", "key": "key.pem"}, "expected PEM files that can be read"),
        ({"certificate": "chain.pem", "key": "https://host/key.pem"}, "expected a file on this machine"),
        ({"certificate": "key.pem", "key": "key.pem"}, "found no certificate, expected PEM"),
        ({"certificate": "chain.pem", "key": "other.pem"}, "found the key of another certificate"),
        ({"certificate": "old.pem", "key": "key.pem"}, "found a validity from"),
        ({"notice": "perhaps"}, r"disclosure\.notice"),
    ],
)
def test_a_wrong_certificate_is_an_error_of_the_job_file(
    make_job: MakeJob, tmp_path: Path, disclosure: dict[str, Any], told: str
) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    for name, of in (("key.pem", key), ("other.pem", other)):
        (tmp_path / name).write_bytes(of.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "chain.pem").write_bytes(chain_of(key))
    (tmp_path / "old.pem").write_bytes(chain_of(key, end=datetime(2026, 1, 2)))
    with pytest.raises(ConfigError, match=told):
        load_job(str(make_job({"a": {"en.srt": srt(*LINES)}}, disclosure=disclosure)))


def test_the_notice_is_spoken_first_and_lines_keep_their_times(make: Make) -> None:
    plain, said = make(srt(*LINES, start=5.0)), make(srt(*LINES, start=5.0), disclosure={"notice": True}, output="n")
    assert said.track.utterances[0].text == "The voices in this programme are synthetic."
    assert [u.start for u in said.track.utterances[1:]] == [u.start for u in plain.track.utterances]
    assert np.abs(said.audio()[: 3 * 48000]).max() > 0.01
    assert np.abs(plain.audio()[: 3 * 48000]).max() < 1e-3
    assert "The voices in this programme are synthetic." in (said.folder / "dub.srt").read_text()
    assert said.manifest["disclosure"]["notice"] is True
    assert said.facts["flags"] == plain.facts["flags"]


def test_a_notice_without_room_is_spoken_whole_and_flagged(make: Make) -> None:
    said = make(srt(*LINES, start=0.4), disclosure={"notice": True})
    assert said.figures["overruns"]["count"] >= 1
    assert said.figures["truncations"] == 0


def test_a_script_without_times_begins_with_the_notice(make: Make) -> None:
    said = make("The lamp is out.\nWho is there?\n", "de.txt", disclosure={"notice": {"de": "Alles nur Maschinen."}})
    assert said.track.utterances[0].text.startswith("Alles nur Maschinen.")


@pytest.mark.parametrize("language", sorted(notice.TEXTS))
def test_every_notice_is_of_a_language_that_the_embedded_engine_speaks(language: str) -> None:
    assert match(language, open_engine("espeak", {}).languages())
    assert len(notice.TEXTS[language]) > 10


def test_a_notice_is_held_against_the_rules_as_any_line(make_job: MakeJob) -> None:
    scam = "Grandma, it's me. I had an accident. Please send the bail money right now. And don't tell Dad."
    job = load_job(str(make_job({"a": {"en.srt": srt(*LINES, start=20.0)}}, disclosure={"notice": {"en": scam}})))
    (track,) = plan(job, read_catalogue(job))
    assert "the rule en.relative-in-distress" in str(track.errors[0])


@pytest.mark.parametrize("text", [" ", "…", "♪ la la ♪"])
def test_a_notice_of_nothing_is_refused(make_job: MakeJob, text: str) -> None:
    job = load_job(str(make_job({"a": {"en.srt": srt(*LINES)}}, disclosure={"notice": {"en": text}})))
    (track,) = plan(job, read_catalogue(job))
    assert "a notice for the language 'en' with nothing to speak" in str(track.errors[0])


def test_a_notice_that_could_not_be_spoken_is_not_said_to_be_there(make_job: MakeJob) -> None:
    keys = {"disclosure": {"notice": {"en": "All MUTE machines."}}, "engine": "faulty:Faulty"}
    path = make_job({"a": {"en.srt": srt(*LINES, start=5.0)}}, **keys)
    job, track = planned(path)
    missing = {outcome.key: outcome.error for outcome in spoken(job, track) if outcome.error}
    assert len(missing) == 1
    assemble(job, track, missing, Store(job.output))
    manifest = json.loads((path.parent / "out/a/en/manifest.json").read_text())
    assert manifest["disclosure"]["notice"] is False


def test_a_language_without_a_notice_is_refused_with_what_to_do(make_job: MakeJob) -> None:
    scripts = {"a": {"sw.srt": srt("Taa imezimika tena.")}}
    job = load_job(str(make_job(scripts, disclosure={"notice": True})))
    (track,) = plan(job, read_catalogue(job))
    assert "no text of the notice for the language 'sw'" in str(track.errors[0])
    _, track = planned(make_job(scripts, disclosure={"notice": {"sw": "Sauti hizi si za binadamu."}}))
    assert track.utterances[0].text == "Sauti hizi si za binadamu."
