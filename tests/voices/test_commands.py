"""`dub voices`: add, check and list, with what is wrong told by name, value and limit."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from cloning import OTHER, clip
from commands import dub

from pipeline.audio.codec import decode
from pipeline.config import load_job, load_voices
from pipeline.signing import SigningKey

pytest.importorskip("torch")

KEY = SigningKey(bytes(range(32)))


def test_a_voice_from_the_recording_to_the_checked_file(tmp_path: Path) -> None:
    """A long recording, of which seconds are cut; its consent; the check."""
    texts = (OTHER, OTHER[::-1], OTHER)
    parts = [decode(clip(tmp_path / f"{n}.f2.wav", text), 24000)[0] for n, text in enumerate(texts)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), 24000)
    file = str(tmp_path / "voices.yaml")
    told = dub("voices", "add", file, "anna", "--clip", str(tmp_path / "long.wav"), "--language", "en")
    assert "dB above the noise" in told
    assert 3 <= soundfile.info(tmp_path / "anna.wav").duration <= 10.3
    assert load_voices(file)["anna"]["language"] == "en"
    assert "1 voices can be cloned; consents were not checked" in dub("voices", "check", file)
    assert "voice 'anna'" not in (checked := dub("voices", "check", file, "--issuer", KEY.public, code=3))
    assert "anna: found no consent, expected a record" in checked
    KEY.write(tmp_path / "key")
    draft, record = str(tmp_path / "d.json"), str(tmp_path / "anna.json")
    dub("consent", "new", draft, "--voice", "anna", "--subject", "Anna", "--to", "us", "--until", "2120-01-01",
        "--clip", str(tmp_path / "anna.wav"))  # fmt: skip
    dub("consent", "sign", draft, record, "--statement", str(tmp_path / "long.wav"), "--key", str(tmp_path / "key"))
    with open(file, "a") as lines:
        lines.write("    consent: anna.json\n")
    assert "1 voices can be cloned\n" in dub("voices", "check", file, "anna", "--issuer", KEY.public)
    assert "1 voices of" in dub("voices", "list", file)
    assert "which is in" in dub("voices", "add", file, "anna", "--clip", record, code=2)


def test_what_is_wrong_with_a_recording_is_told(tmp_path: Path) -> None:
    file, good = str(tmp_path / "voices.yaml"), clip(tmp_path / "a.f2.wav")
    samples, rate = decode(good)
    soundfile.write(tmp_path / "quiet.wav", samples * 0.003, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "long.wav", np.tile(samples, 3), rate)
    other = decode(clip(tmp_path / "b.m7.wav", OTHER), rate)[0]
    soundfile.write(tmp_path / "two.wav", np.concatenate([samples[: 4 * rate], other[: 4 * rate]]), rate)
    for name, told, code in (
        ("quiet.wav", "found speech at -", 3),
        ("two.wav", "found parts that are alike by", 3),
        ("none.wav", "which cannot be read", 2),
        ("voices.txt", "which cannot be read", 2),
    ):
        (tmp_path / "voices.txt").write_text("no sound")
        assert told in dub("voices", "add", file, "anna", "--clip", str(tmp_path / name), code=code)
        assert not (tmp_path / "anna.wav").exists()
    assert "--text: found a text for all" in dub(
        "voices", "add", file, "anna", "--clip", str(tmp_path / "long.wav"), "--text", "Words.", code=2
    )
    Path(file).write_text("voices:\n  anna: {clip: quiet.wav}\n  tom: {clip: two.wav}\n")
    told = dub("voices", "check", file, code=3)
    assert "expected at least -45 dBFS (quiet)" in told
    assert "two.wav: found parts that are alike by" in told
    assert "1 voices" in dub("voices", "add", file, "maria", "--clip", str(good)) + dub(
        "voices", "check", file, "maria"
    )
    assert "found 'nobody', expected one of anna, tom, maria" in dub("voices", "check", file, "nobody", code=2)


@pytest.mark.parametrize("text", ["voices: {}\n", "voices:\n    tom:\n        clip: tom.wav\n"])
def test_a_file_that_a_voice_cannot_be_appended_to_stays_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.yaml").write_text(text)
    told = dub("voices", "add", str(tmp_path / "v.yaml"), "anna", "--clip", str(clip(tmp_path / "a.f2.wav")), code=2)
    assert "v.yaml: found a file that a voice cannot be added to" in told
    assert (tmp_path / "v.yaml").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.f2.wav", "v.yaml"]


def test_no_clip_is_left_of_a_voice_that_cannot_be_entered(tmp_path: Path) -> None:
    (tmp_path / ".v.yaml.new").mkdir()
    told = dub("voices", "add", str(tmp_path / "v.yaml"), "anna", "--clip", str(clip(tmp_path / "a.f2.wav")), code=2)
    assert "v.yaml: found" in told
    assert "expected a folder to write to" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [".v.yaml.new", "a.f2.wav"]


def test_what_cannot_be_written_as_utf8_is_told(tmp_path: Path) -> None:
    about = [
        "--subject",
        "Andr\udce9",
        "--to",
        "us",
        "--until",
        "2120-01-01",
        "--clip",
        str(clip(tmp_path / "a.f2.wav")),
    ]
    told = dub("consent", "new", str(tmp_path / "d.json"), "--voice", "anna", *about, code=2)
    assert "expected text that can be written as UTF-8" in told
    assert not (tmp_path / "d.json").exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", " ", ".", "an@na"])
def test_a_name_that_cannot_be_a_file_is_refused(tmp_path: Path, name: str) -> None:
    told = dub("voices", "add", str(tmp_path / "v.yaml"), name, "--clip", str(clip(tmp_path / "a.f2.wav")), code=2)
    assert "NAME: found" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.f2.wav"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected the key voices"),
        ("voices: [a]", "expected the key voices"),
        ("voices: {a: {clip: a.wav, colour: red}}", "voices.a: colour: found an unknown key"),
        ("voices: {a: {text: hm}}", "voices.a: clip: found nothing"),
        ("voices: {a: ", "expected YAML"),
    ],
)
def test_a_wrong_voices_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "voices.yaml").write_text(text)
    assert told in dub("voices", "list", str(tmp_path / "voices.yaml"), code=2)
    assert "found no such file" in dub("voices", "list", str(tmp_path / "none.yaml"), code=2)


def test_a_job_gives_the_voices_to_an_engine_that_clones_and_to_no_other(tmp_path: Path, make_job: object) -> None:
    from conftest import srt

    from pipeline.catalogue import read_catalogue
    from pipeline.plan import plan

    clip(tmp_path / "anna.f2.wav")
    (tmp_path / "voices.yaml").write_text("voices:\n  anna: {clip: anna.f2.wav, text: The lamp.}\n")
    titles = {"a": {"cast": {"": "anna"}}}
    keys = {"voices": "voices.yaml", "consent": "off", "blocklist": "off"}
    path = make_job({"a": {"en.srt": srt("Who?")}}, titles=titles, engine="cloning:Cloning", **keys)  # type: ignore[operator]
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    assert not track.errors
    assert dict(track.voices)[""].startswith("anna@")
    assert job.engine.options["voices"]["anna"]["text"] == "The lamp."
    path = make_job({"a": {"en.srt": srt("Who?")}}, titles=titles, **keys)  # type: ignore[operator]
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    assert "which is to be cloned, expected one that the engine espeak has" in str(track.errors[0])
