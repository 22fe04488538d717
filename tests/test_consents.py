"""Consent in a job: at plan, while it speaks, when a track is written, and on the command line."""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cloning import OTHER, Cloning, cast, clip, reasons
from commands import dub
from conftest import srt
from made import LINES, planned

from pipeline import lists
from pipeline.assemble import assemble
from pipeline.cloning import refusal
from pipeline.config import load_job
from pipeline.parse import ConfigError
from pipeline.plan import engine
from pipeline.run import run
from pipeline.signing import SigningKey
from pipeline.speak import speak
from pipeline.store import Store
from pipeline.voices.consent import ConsentError, read_consent, revoke

KEY = SigningKey(bytes(range(32)))
consent = partial(dub, "consent")
WHEN = "2026-11-24T12:00:00Z"
Casting = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _forget() -> None:
    lists.forget()


@pytest.fixture(scope="module")
def spoken_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("anna.f2.wav", "tom.m3.wav"):
        clip(folder / name)
    return folder


@pytest.fixture
def casting(tmp_path: Path, spoken_clips: Path) -> Casting:
    """Clips and signed records of anna and tom, as keys of a job; `records` change the body of a voice's consent."""

    def make(**records: dict[str, Any] | None) -> dict[str, Any]:
        voices = {}
        for name, heard in (("anna", "anna.f2.wav"), ("tom", "tom.m3.wav")):
            clip = tmp_path / heard
            shutil.copy(spoken_clips / heard, clip)
            voices[name] = {"clip": clip.name}
            changes = records.get(name, {})
            if changes is not None:
                body = {
                    "voice": name, "subject": name, "granted_by": name, "purposes": ["dubbing"], "languages": ["en"],
                    "titles": ["*"], "not_before": "2020-01-01T00:00:00Z", "not_after": "2120-01-01T00:00:00Z",
                    "clips": [hashlib.sha256(clip.read_bytes()).hexdigest()], "statement": "c" * 64, "phrase": "Yes. 4",
                }  # fmt: skip
                (tmp_path / f"{name}.json").write_bytes(KEY.sign("consent", {**body, **changes}))
                voices[name]["consent"] = f"{name}.json"
        return {
            "engine": {"name": "cloning:Cloning", "options": {"voices": voices}}, "default_voice": None,
            "consent": {"issuers": [KEY.public]}, "blocklist": "off",
        }  # fmt: skip

    return make


def test_a_job_delivers_what_is_consented_to_and_leaves_nothing_of_the_rest(
    make_job: Any, casting: Casting, ray_session: None
) -> None:
    scripts = {name: {"en.srt": srt(*LINES[:2])} for name in ("a", "b", "c")}
    keys = casting(tom=None, anna={"titles": ["a"]})
    path = make_job(scripts, titles=cast(a="anna", b="tom", c="anna"), **keys)
    summary = run(load_job(str(path)))
    assert summary.exit_code == 3
    assert {t["title"]: t["state"] for t in summary.tracks} == {"a": "delivered", "b": "refused", "c": "refused"}
    told = {row["title"]: row["found"] for row in summary.failed}
    assert "voice 'tom': found no consent" in told["b"]
    assert "found the title 'c', expected a" in told["c"]
    out = path.parent / "out"
    assert {p.name for p in out.iterdir()} - {".tmp"} == {"a", "takes", "jobs"}
    manifest = json.loads((out / "a/en/manifest.json").read_text())
    (agreed,) = manifest["consents"]
    assert (agreed["voice"], len(agreed["consent"])) == ("anna", 16)
    assert len(list(out.glob("takes/*/*.flac"))) == 2
    assert run(load_job(str(path))).idle


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_after": "2021-01-01T00:00:00Z"}, "expired"),
        ({"not_before": "2119-01-01T00:00:00Z"}, "not-yet"),
        ({"languages": ["fr"]}, "language"),
        ({"purposes": ["adverts"]}, "purpose"),
        ({"voice": "tom"}, "voice"),
        ({"clips": ["d" * 64]}, "clip"),
        (None, "missing"),
    ],
)
def test_plan_says_which_reason_it_was(make_job: Any, casting: Casting, changes: Any, reason: str) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **casting(anna=changes))
    assert f"(title 'a', {reason})" in reasons(path)["a"]


def test_a_clip_swapped_after_the_consent_is_refused(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **casting())
    clip(tmp_path / "anna.f2.wav", OTHER)
    told = reasons(path)["a"]
    assert "(title 'a', clip)" in told
    assert "which the consent does not name" in told


def test_a_clip_swapped_after_the_engine_heard_it_is_refused(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    """What is checked must be what is cloned, also where the new clip has a consent of its own."""
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **casting())
    engine(load_job(str(path)))
    clip(tmp_path / "anna.f2.wav", OTHER)
    casting(anna={"clips": [hashlib.sha256((tmp_path / "anna.f2.wav").read_bytes()).hexdigest()]})
    clip(tmp_path / "anna.f2.wav", OTHER)
    assert "expected those of anna@" in reasons(path)["a"]


def test_an_engine_does_not_read_clips_by_options_of_its_own(make_job: Any, casting: Casting) -> None:
    keys = casting()
    keys["engine"]["options"]["storage_options"] = {"client_kwargs": {"headers": {"X-Who": "engine"}}}
    with pytest.raises(ConfigError, match=r"engine\.options\.storage_options: found it there, expected the job's"):
        engine(load_job(str(make_job({"a": {"en.srt": srt(LINES[0])}}, **keys))))


def test_a_number_as_a_name_is_a_cloned_voice_as_any(make_job: Any, casting: Casting) -> None:
    """YAML reads a bare 7 as a number, and the engine would know the voice as text."""
    keys = casting(anna=None)
    options = keys["engine"]["options"]
    options["voices"] = {7: options["voices"]["anna"]}
    assert (
        "voice '7': found no consent"
        in reasons(make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a=7), **keys))["a"]
    )


@pytest.mark.parametrize(
    ("voices", "told"),
    [
        ({True: {"clip": "anna.f2.wav"}}, "engine.options.voices: found the truth value true, expected text"),
        ({None: {"clip": "anna.f2.wav"}}, "engine.options.voices: found the name None"),
        ({"an@na": {"clip": "anna.f2.wav"}}, "engine.options.voices: found the name 'an@na'"),
        ({7: {"clip": "a.wav"}, "7": {"clip": "b.wav"}}, "found the key '7' for the second time"),
        ({"anna": None}, "engine.options.voices.anna: the entry: found None"),
        ({"anna": {"clip": "anna.f2.wav", "accept": None}}, "engine.options.voices.anna: accept: found None"),
        ({"anna": {"clip": "anna.f2.wav", "accept": "quiet"}}, "engine.options.voices.anna: accept: found 'quiet'"),
        ({"anna": {"clip": "anna.f2.wav", "emotion": {}}}, "engine.options.voices.anna: emotion: found an unknown key"),
    ],
)
def test_voices_that_are_not_written_as_they_should_be_are_refused(make_job: Any, voices: Any, told: str) -> None:
    engine = {"name": "cloning:Cloning", "options": {"voices": voices}}
    with pytest.raises(ConfigError) as caught:
        load_job(str(make_job({"a": {"en.srt": srt(LINES[0])}}, engine=engine)))
    assert told in str(caught.value)


def test_a_clip_swapped_between_plan_and_speak_is_not_spoken(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **casting())
    job, track = planned(path)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    shutil.copy(tmp_path / "tom.m3.wav", tmp_path / "anna.f2.wav")
    another = Cloning(**job.engine.options)  # as a replica opens it
    outcomes = list(speak(chunks, another, Store(job.output)))
    assert all("but its clips are those of anna@" in outcome.error for outcome in outcomes)
    assert len(outcomes) == len(chunks)
    assert "(clip)" in refusal(job, chunks[0].voice)
    assert not list(Path(job.output).glob("takes/*/*.flac"))


def test_a_revocation_is_noticed_inside_of_a_batch(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **casting())
    job, track = planned(path)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    asked: list[str] = []

    def late(voice: str) -> str:
        """Nothing is said against the voice until the second take."""
        asked.append(voice)
        return "revoked meanwhile" if len(asked) > 2 else ""

    outcomes = list(speak(chunks, engine(job), Store(job.output), late))
    assert sorted(outcome.error for outcome in outcomes) == ["", *["revoked meanwhile"] * (len(chunks) - 1)]
    assert sorted(outcome.key for outcome in outcomes) == sorted(chunk.key for chunk in chunks)
    assert len(list(Path(job.output).glob("takes/*/*.flac"))) == 1


def test_takes_of_a_voice_that_is_revoked_before_its_track_is_written_go(
    make_job: Any, casting: Casting, tmp_path: Path, ray_session: None
) -> None:
    keys = casting()
    keys["consent"]["revoked"] = "revoked.json"
    revoked = tmp_path / "revoked.json"
    revoked.write_bytes(revoke(None, KEY, [], "", WHEN))
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **keys)
    job, track = planned(path)
    ((_, name),) = track.consents or ()
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    assert not any(outcome.error for outcome in speak(chunks, engine(job), Store(job.output)))

    def watch(progress: Any) -> None:
        """The track is planned, and then the voice is revoked."""
        revoked.write_bytes(revoke(None, KEY, [name], "withdrawn", WHEN))

    summary = run(load_job(str(path)), watch=watch)
    assert (summary.exit_code, summary.spoken) == (3, 0)
    assert "(title 'a', revoked)" in summary.failed[0]["found"]
    assert not list(Path(job.output).glob("takes/*/*.flac"))
    assert not list(Path(job.output).glob("a/**/*"))


def test_a_list_seen_by_a_run_that_had_nothing_to_do_is_remembered(
    make_job: Any, casting: Casting, tmp_path: Path
) -> None:
    keys = casting()
    keys["consent"]["revoked"] = "revoked.json"
    scripts = {f"t{n}": {"en.srt": srt(LINES[0])} for n in range(33)}  # so many are planned in other processes
    path = make_job(scripts, titles=cast(**dict.fromkeys(scripts, "anna")), **keys)
    ((_, name),) = casting_id(keys, tmp_path)
    old = revoke(None, KEY, [], "", WHEN)
    (tmp_path / "revoked.json").write_bytes(revoke(old, KEY, [name], "withdrawn", WHEN))
    assert {t["state"] for t in run(load_job(str(path))).tracks} == {"refused"}
    lists.forget()
    (tmp_path / "revoked.json").write_bytes(old)
    summary = run(load_job(str(path)))
    assert {t["state"] for t in summary.tracks} == {"refused"}
    assert "version 1, version 2 was seen before" in summary.failed[0]["found"]


def test_a_list_that_one_worker_saw_binds_the_others(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    keys = casting()
    keys["consent"]["revoked"] = "revoked.json"
    revoked, old = tmp_path / "revoked.json", revoke(None, KEY, [], "", WHEN)
    revoked.write_bytes(old)
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **keys)
    job, track = planned(path)
    assert not (tmp_path / "out").exists()  # a plan writes nothing
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    ((_, name),) = track.consents or ()
    assert not any(o.error for o in speak(chunks[:2], engine(job), Store(job.output), partial(refusal, job)))

    lists.forget()  # another worker, which sees the list that revokes
    revoked.write_bytes(revoke(old, KEY, [name], "withdrawn", WHEN))
    assert "which was revoked" in refusal(job, chunks[0].voice)

    lists.forget()  # and one that reads the older list, which was put back
    revoked.write_bytes(old)
    assert "version 1, version 2 was seen before" in refusal(job, chunks[0].voice)
    with pytest.raises(ConsentError, match="version 2 was seen before"):
        assemble(job, track, dict.fromkeys([chunk.key for chunk in chunks[2:]], "revoked"), Store(job.output))
    assert "version 2 was seen before" in reasons(path)["a"]


def casting_id(keys: dict[str, Any], folder: Path) -> tuple[tuple[str, str], ...]:
    """Voice and id of the consent of anna."""
    found = read_consent((folder / "anna.json").read_bytes(), keys["consent"]["issuers"], 1.8e9)
    return (("anna", found.id),)


def test_an_emotion_clip_needs_consent_as_well(make_job: Any, casting: Casting, tmp_path: Path) -> None:
    keys = casting()
    keys["engine"]["options"]["voices"]["anna"]["emotions"] = {"fear": "tom.m3.wav"}
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **keys)
    assert "(title 'a', clip)" in reasons(path)["a"]


@pytest.mark.parametrize("issuers", [[], [SigningKey(bytes(32)).public]])
def test_an_issuer_whom_the_job_does_not_name_is_not_believed(make_job: Any, casting: Casting, issuers: Any) -> None:
    keys = casting() | {"consent": {"issuers": issuers}}
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **keys)
    assert "untrusted" in reasons(path)["a"]


def test_a_list_of_revocations_that_cannot_be_read_refuses(make_job: Any, casting: Casting) -> None:
    keys = casting()
    keys["consent"]["revoked"] = "nowhere.json"
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **keys)
    assert "(title 'a', missing)" in reasons(path)["a"]


def test_a_consent_revoked_meanwhile_stops_what_is_not_spoken_and_what_is_not_written(
    make_job: Any, casting: Casting, tmp_path: Path
) -> None:
    keys = casting()
    keys["consent"]["revoked"] = "revoked.json"
    (tmp_path / "revoked.json").write_bytes(revoke(None, KEY, [], "", WHEN))
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **keys)
    job, track = planned(path)
    ((_, name),) = track.consents or ()
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    store = Store(job.output)
    say = partial(speak, engine=engine(job), store=store, refusal=partial(refusal, job))
    assert not any(outcome.error for outcome in say(chunks[:-1]))

    (tmp_path / "revoked.json").write_bytes(
        revoke((tmp_path / "revoked.json").read_bytes(), KEY, [name], "withdrawn", WHEN)
    )
    lists._kept.cache_clear()  # as it is done every 30 seconds
    (outcome,) = say(chunks[-1:])
    assert "revoked" in outcome.error
    assert len(list(Path(job.output).glob("takes/*/*.flac"))) == len({c.key for c in chunks[:-1]})
    with pytest.raises(ConsentError) as caught:
        assemble(job, track, {chunks[-1].key: outcome.error}, store)
    assert caught.value.reason == "revoked"
    assert not list(Path(job.output).glob("a/**/*"))
    assert "(title 'a', revoked)" in reasons(path)["a"]

    (tmp_path / "revoked.json").write_bytes(revoke(None, KEY, [], "", WHEN))  # the older list, put back
    lists._kept.cache_clear()
    assert "(title 'a', older)" in reasons(path)["a"]


def test_off_is_written_into_the_manifest_and_is_another_track(make_job: Any, casting: Casting) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **casting())
    asked = planned(path)[1]
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **casting() | {"consent": "off"})
    job, track = planned(path)
    assert track.consents is None
    assert track.digest != asked.digest
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    list(speak(chunks, engine(job), Store(job.output), partial(refusal, job)))
    assemble(job, track, {}, Store(job.output))
    assert json.loads((Path(job.output) / "a/en/manifest.json").read_text())["consents"] == "off"


def test_an_engine_that_cannot_clone_refuses_a_cloned_voice(make_job: Any) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"))
    assert "voice 'anna'" in reasons(path)["a"]


def test_a_wrong_issuer_key_is_an_error_of_the_job_file(make_job: Any) -> None:
    with pytest.raises(ConfigError, match=r"consent\.issuers\.0: found 'dubkey1:x': a public key is"):
        load_job(str(make_job({"a": {"en.srt": srt(LINES[0])}}, consent={"issuers": ["dubkey1:x"]})))


def test_the_commands_from_the_draft_to_the_revocation(tmp_path: Path) -> None:
    clip, said, draft, record = (str(tmp_path / name) for name in ("a.wav", "yes.wav", "draft.json", "a.json"))
    key, gone = str(tmp_path / "issuer.key"), str(tmp_path / "revoked.json")
    Path(clip).write_bytes(b"clip")
    Path(said).write_bytes(b"yes")
    public = consent("key", key).strip()
    about = ["--voice", "anna", "--subject", "Anna", "--to", "Studio", "--clip", clip, "--until", "2120-01-01"]
    assert "I, Anna, allow Studio" in consent("new", draft, *about, "--title", "a")
    name = consent("sign", draft, record, "--statement", said, "--key", key).split()[1]
    check = ["verify", record, "--issuer", public]
    assert json.loads(consent(*check, "--clip", clip, "--statement", said, "--title", "a"))["id"] == name
    assert "refused (title)" in consent(*check, "--title", "b", code=3)
    assert "refused (clip)" in consent(*check, "--clip", said, code=3)
    assert "refused (clip)" in consent(*check, "--statement", clip, code=3)
    assert "refused (untrusted)" in consent("verify", record, "--issuer", SigningKey(bytes(32)).public, code=3)
    assert "1 consents revoked" in consent("revoke", name, "--revocations", gone, "--key", key, "--why", "withdrawn")
    assert "refused (revoked)" in consent(*check, "--revocations", gone, code=3)
    assert "nothing is overwritten" in consent("sign", draft, record, "--statement", said, "--key", key, code=2)
    assert "nothing is overwritten" in consent("key", key, code=2)
    assert "--until: found '2120'" in consent("new", f"{draft}2", *about[:-1], "2120", code=2)
    assert "a signing key begins with" in consent("revoke", name, "--revocations", gone, "--key", clip, code=2)
    assert "found no file" in consent("verify", f"{record}2", "--issuer", public, code=2)
    assert "16 hexadecimal digits" in consent("revoke", "anna", "--revocations", gone, "--key", key, code=2)
