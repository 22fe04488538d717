"""A client of the OpenAI speech API against a real server, over real connections: requests, takes, options."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeJob, srt

from pipeline.audio.clip import resample, trim
from pipeline.config import load_job
from pipeline.engines import open_engine
from pipeline.engines.openai import OpenAI
from pipeline.parse import ConfigError
from pipeline.plan import engine as engine_of
from pipeline.run import run
from tests.engines.openai_client import LINE, LINES, OPTIONS, SECRET, chunk, client, one, samples
from tests.engines.speech_server import Delay, Refusal, SpeechServer

pytestmark = pytest.mark.usefixtures("quick")
DOCUMENT = Path(__file__).parents[2] / "docs/engines.md"


# What comes back


@pytest.mark.parametrize("form", ["wav", "flac", "pcm"])
def test_a_take_is_what_the_server_sent(server: SpeechServer, form: str) -> None:
    for spoken in client(server, format=form).speak([chunk(text) for text in LINES]):
        assert samples(spoken).dtype == np.float32
        assert np.array_equal(samples(spoken), server.sent[spoken.chunk.text])
        assert (spoken.rate, spoken.error) == (1.0, "")


@pytest.mark.parametrize("form", ["mp3", "opus"])
def test_lossy_formats_are_understood(form: str) -> None:
    with SpeechServer(rate=24000) as server:
        audio = samples(one(client(server, format=form, sample_rate=24000)))
        sent = server.sent[LINE]
    assert abs(len(audio) - len(sent)) < 0.1 * 24000
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(np.sqrt(np.mean(sent**2)), rel=0.1)


def test_another_rate_is_resampled(server: SpeechServer) -> None:
    audio = samples(one(client(server, sample_rate=24000)))
    assert np.array_equal(audio, np.clip(resample(server.sent[LINE], 22050, 24000), -1, 1))


@pytest.mark.parametrize("form", ["streamed", "streamed0"])
def test_a_wav_of_unknown_length_is_read_to_its_end(server: SpeechServer, form: str) -> None:
    server.script.append(form)
    assert np.array_equal(samples(one(client(server))), server.sent[LINE])
    assert len(server.requests) == 1


def test_wav_instead_of_pcm_is_noticed(server: SpeechServer) -> None:
    server.script.append("wav")
    assert np.array_equal(samples(one(client(server, format="pcm"))), server.sent[LINE])


def test_the_same_chunk_sounds_the_same_in_any_company(server: SpeechServer) -> None:
    alone = {text: samples(one(client(server), chunk(text))) for text in LINES}
    together = {spoken.chunk.text: samples(spoken) for spoken in client(server).speak([chunk(text) for text in LINES])}
    assert all(np.array_equal(alone[text], together[text]) for text in LINES)


# What is asked


def test_a_request_says_what_the_chunk_says(server: SpeechServer) -> None:
    engine = client(server, parameters={"temperature": 0.8, "instructions": "Speak calmly."})
    one(engine, chunk("Ja.", language="de", voice="f2"))
    one(engine, chunk("Nein.", language="de", voice="f2", direction="whispering"))
    first, second = server.requests
    assert {**first, "seed": 0} == {
        "model": "espeak", "input": "Ja.", "voice": "f2", "response_format": "wav", "language": "de",
        "temperature": 0.8, "instructions": "Speak calmly.", "seed": 0,
    }  # fmt: skip
    assert second["instructions"] == "whispering"


def test_fields_have_the_names_that_the_job_gives_them(server: SpeechServer) -> None:
    one(client(server, send_language="lang", send_direction="style"), chunk(direction="angry"))
    one(client(server, send_language="", send_direction=""), chunk(direction="angry"))
    named, bare = server.requests
    assert (named["lang"], named["style"]) == ("en-us", "angry")
    assert set(bare) == {"model", "input", "voice", "response_format", "seed"}


def test_seeds_come_from_the_chunk(server: SpeechServer) -> None:
    for text in ("One.", "Two.", "One."):
        one(client(server), chunk(text))
    seeds = [body["seed"] for body in server.requests]
    assert seeds[0] == seeds[2] != seeds[1]
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(("seed", "sent"), [(7, [7, 8]), (2**31 - 1, [2**31 - 1, 0]), (None, [None, None])])
def test_a_seed_of_the_job_goes_before(server: SpeechServer, seed: int | None, sent: list[int | None]) -> None:
    server.script.extend(["silent", None])
    assert samples(one(client(server, parameters={"seed": seed}))).size
    assert [body.get("seed") for body in server.requests] == sent


def test_the_key_goes_into_the_header(server: SpeechServer, monkeypatch: pytest.MonkeyPatch) -> None:
    one(client(server))
    assert "Authorization" not in server.headers[0]
    server.key = SECRET
    monkeypatch.setenv("SPEECH_KEY", f"{SECRET}\n")
    engine = client(server, key_variable="SPEECH_KEY")
    engine.load()
    assert samples(one(engine)).size
    assert server.headers[1]["Authorization"] == f"Bearer {SECRET}"


# A chunk that must be shorter


def test_a_tight_chunk_is_spoken_faster(server: SpeechServer) -> None:
    natural = len(trim(samples(one(client(server))), 22050)[0]) / 22050
    spoken = one(client(server, max_rate=2.0), chunk(target=natural * 0.8, max_rate=1.6))
    assert len(trim(samples(spoken), 22050)[0]) / 22050 <= natural * 0.8
    assert 1.2 < spoken.rate < 1.45
    assert "speed" not in server.requests[1]
    assert server.requests[-1]["speed"] == spoken.rate
    assert len({body["seed"] for body in server.requests}) == 1


@pytest.mark.parametrize(("offered", "allowed", "rate"), [(1.0, 1.5, 1.0), (1.2, 1.5, 1.2), (4.0, 1.3, 1.3)])
def test_no_rate_beyond_what_is_allowed(server: SpeechServer, offered: float, allowed: float, rate: float) -> None:
    spoken = one(client(server, max_rate=offered), chunk(target=0.3, max_rate=allowed))
    assert (spoken.rate, server.requests[-1].get("speed", 1.0)) == (rate, rate)


def test_a_server_without_speed_is_not_pressed() -> None:
    with SpeechServer(deaf=True) as server:
        spoken = one(client(server, max_rate=2.0), chunk(target=0.3, max_rate=2.0))
        assert (spoken.rate, len(server.requests)) == (1.0, 2)
        assert samples(spoken).size


def test_a_bad_faster_take_leaves_the_slower_one(server: SpeechServer) -> None:
    server.script.extend([None, *["silent"] * 4])
    spoken = one(client(server, max_rate=2.0), chunk(target=0.3, max_rate=2.0))
    assert (spoken.rate, len(server.requests)) == (1.0, 5)
    assert samples(spoken).size


# Many at once


def test_so_many_requests_as_are_allowed_are_on_their_way_and_no_more() -> None:
    with SpeechServer(together=4) as server:
        spoken = list(client(server, concurrency=4).speak([chunk(f"Line {n}.") for n in range(12)]))
        assert server.most == 4
    assert sorted(one.chunk.text for one in spoken) == sorted(f"Line {n}." for n in range(12))
    assert all(one.samples is not None for one in spoken)


def test_a_take_is_given_out_as_soon_as_it_is_there(server: SpeechServer) -> None:
    server.faults["Slow."] = Delay(0.8)
    started = time.monotonic()
    found = client(server).speak([chunk("Slow."), chunk("Quick."), chunk("Swift.")])
    order = [(spoken.chunk.text, time.monotonic() - started) for spoken in found]
    assert order[-1][0] == "Slow."
    assert order[0][1] < 0.8 <= order[-1][1]


def test_requests_go_on_while_the_caller_is_busy(server: SpeechServer) -> None:
    found = client(server, concurrency=1).speak([chunk(f"Line {n}.") for n in range(4)])
    next(found)
    limit = time.monotonic() + 2
    while len(server.sent) < 4 and time.monotonic() < limit:
        time.sleep(0.01)
    assert len(server.sent) == 4
    assert len(list(found)) == 3


def test_closed_early_it_gives_its_requests_up(server: SpeechServer) -> None:
    server.faults["f2"] = Delay(30)
    threads = threading.active_count()
    found = client(server, concurrency=3).speak([chunk("Now."), *(chunk(f"{n}.", voice="f2") for n in range(6))])
    assert next(found).chunk.text == "Now."
    limit = time.monotonic() + 2
    while server.now < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    started = time.monotonic()
    found.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    limit = time.monotonic() + 2
    while server.now and time.monotonic() < limit:
        time.sleep(0.01)
    assert (server.now, server.dropped, len(server.requests)) == (0, 3, 4)
    assert threading.active_count() <= threads + 1  # the server's own pool


def test_nothing_to_speak_is_nothing_asked(server: SpeechServer) -> None:
    assert list(client(server).speak([])) == []
    assert server.requests == []


# Options


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": ""}, "url: found nothing, expected the server's address, such as http://host:8000"),
    ({"url": "host:8000"}, "url: found 'host:8000', expected the server's address"),
    ({"url": "ftp://host"}, "url: found 'ftp://host', expected"),
    ({"url": "http://host:99999"}, "url: found 'http://host:99999', expected"),
    ({"url": f"http://me:{SECRET}@host"}, "url: found a user, password, query or fragment in it, expected"),
    ({"url": f"http://host?key={SECRET}"}, "url: found a user, password, query or fragment in it, expected"),
    ({"model": ""}, "model: found nothing, expected the name of a model"),
    ({"model": 3}, "model: found 3, expected the name of a model"),
    ({"voices": []}, "voices: found nothing, expected a list of the names"),
    ({"voices": "alloy"}, "voices: found 'alloy', expected a list"),
    ({"voices": ["alloy", 1]}, "voices: found 1, expected a list"),
    ({"languages": []}, "languages: found nothing, expected a list of BCP 47 tags"),
    ({"languages": "fr"}, "languages: found 'fr', expected a list"),
    ({"languages": ["fr", "french"]}, "languages: found 'french', expected a list of BCP 47 tags"),
    ({"languages": ["pt_BR"]}, "languages: found 'pt_BR', expected"),
    ({"languages": ["x"]}, "languages: found 'x', expected"),
    ({"languages": [False]}, "languages: found nothing, expected"),
    ({"languages": {"fr": 3}}, "languages.fr: found 3, expected its name in English"),
    ({"sample_rate": 24000.5}, "sample_rate: found 24000.5, expected a whole number from 8000 to 192000"),
    ({"sample_rate": 100}, "sample_rate: found 100, expected a whole number"),
    ({"format": "aac"}, "format: found 'aac', expected one of wav, flac, mp3, opus, pcm"),
    ({"revision": 2}, "revision: found 2, expected text (a number in quotes)"),
    ({"concurrency": 0}, "concurrency: found 0, expected a whole number from 1 to 1024"),
    ({"concurrency": True}, "concurrency: found True, expected a whole number"),
    ({"timeout": 0}, "timeout: found 0, expected a number from 0.1 to 3600"),
    ({"timeout": float("nan")}, "timeout: found nan, expected a number"),
    ({"tries": "5"}, "tries: found '5', expected a whole number from 1 to 100"),
    ({"key_variable": SECRET}, "key_variable: found no such name, expected an environment variable's, in capitals"),
    ({"key_variable": SECRET.replace("-", "_")}, "key_variable: found no such name, expected"),
    ({"parameters": ["a"]}, "parameters: found ['a'], expected further fields of the request"),
    ({"parameters": {"voice": "x"}}, "parameters: found 'voice', expected no field that is set for each request"),
    ({"parameters": {"language": "fr"}}, "parameters: found 'language', expected no field that is set"),
    ({"parameters": {"ref_audio": "anna"}}, "parameters.ref_audio: found 'anna', expected no recording to clone"),
    ({"parameters": {"task": "https://x/a.wav"}}, "parameters.task: found 'https://x/a.wav', expected no recording"),
    ({"parameters": {"task": "/data/A.WAV"}}, "parameters.task: found '/data/A.WAV', expected no recording"),
    ({"parameters": {"extra": {"speaker_embedding": [0.1]}}}, "parameters.extra.speaker_embedding: found 0.1"),
    ({"parameters": {"extra": [[0.1] * 33, [0.2] * 32]}}, "parameters: found 65 values in"),
    ({"parameters": {"extra": ["abcdefg " * 100] * 6}}, "parameters: found 6 values in 4,"),
    ({"parameters": {"extra": ["data:audio/wav;base64,UklGRg"]}}, "parameters.extra: found 'data:audio/wav"),
    ({"parameters": {"extra": ["UklGRg+/" * 16]}}, "parameters.extra: found 'UklGRg+/"),
    ({"voices": ["nova", "https://x/a"]}, "voices: found 'https://x/a', expected a list of the names"),
    ({"voices": ["anna.wav"]}, "voices: found 'anna.wav', expected a list of the names of the server's voices: no"),
    ({"parameters": {"style": "a " * 2000}}, "parameters: found 1 values in 4,"),
    ({"send_direction": "ref_audio"}, "send_direction: found 'ref_audio', expected no recording to clone"),
    ({"send_language": "speaker_wav"}, "send_language: found 'speaker_wav', expected no recording to clone"),
    ({"parameters": {"a": {1, 2}}}, "parameters: found Object of type set is not JSON serializable, expected"),
    ({"parameters": {"seed": -1}}, "parameters.seed: found -1, expected a whole number from 0 to 2147483647, or null"),
    ({"parameters": {"seed": "a"}}, "parameters.seed: found 'a', expected a whole number"),
    ({"send_language": "model"}, "send_language: found 'model', expected a field that is none of input, model"),
    ({"send_direction": "seed"}, "send_direction: found 'seed', expected a field that is none of"),
    ({"send_direction": None}, "send_direction: found nothing, expected the name of a field"),
    ({"send_direction": "language"}, "send_direction: found 'language', expected another field than send_language"),
    ({"max_rate": 0.5}, "max_rate: found 0.5, expected a number from 1 to 4"),
]  # fmt: skip


CLIPS = ["refer_wav_path", "reference_id", "speaker_audio", "speaker_wav", "voice_path", "voice_audio", "speaker_file",
         "spk_wav", "prompt_path", "sample", "wav", "source_audio", "xvector", "speaker_emb", "audio_prompt",
         "ref_audio",
         "voice_clone", "prompt_speech_path", "audio_url", "embeddings"]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_wrong_option_teaches_what_is_right(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="found") as caught:
        open_engine("openai", {**OPTIONS, **options})
    assert str(caught.value).startswith(f"engine.options.{message}")
    assert SECRET[-6:] not in str(caught.value)


@pytest.mark.parametrize("name", CLIPS)
def test_fields_that_bring_a_recording_are_known_by_their_names(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^engine\.options\.parameters\.{name}: .* expected no recording to clone"):
        open_engine("openai", {**OPTIONS, "parameters": {name: 1}})


@pytest.mark.parametrize("name", ["url", "model", "voices", "languages"])
def test_what_must_be_there_is_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^engine\.options\.{name}: found nothing, expected "):
        open_engine("openai", {key: value for key, value in OPTIONS.items() if key != name})
    with pytest.raises(ValueError, match=r"'openai' does not take these options: .*'colour'"):
        open_engine("openai", {**OPTIONS, "colour": "red"})


def test_voices_and_languages_are_those_of_the_job() -> None:
    engine = client(voices=["alloy", "Nova", "alloy"], languages={"fr": "French", "zh-Hant": "Chinese, traditional"})
    assert (list(engine.own_voices()), engine.voice("Nova")) == (["alloy", "Nova"], "Nova")
    assert engine.languages() == {"fr": "French", "zh-Hant": "Chinese, traditional"}
    assert client(languages=["fr", "pt-BR"]).languages() == {"fr": "fr", "pt-BR": "pt-BR"}
    with pytest.raises(ValueError, match=r"^found voice 'nova', expected one of the server's: alloy, Nova$"):
        engine.voice("nova")


def test_the_identity_is_what_shapes_the_audio_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    base = client().identity()
    assert base == {
        "engine": "openai", "version": "espeak", "model": "espeak", "revision": "", "parameters": {}, "format": "wav",
        "sample_rate": 22050, "send_language": "language", "send_direction": "instructions",
    }  # fmt: skip
    for name, value in [("url", "https://other"), ("concurrency", 3), ("timeout", 5), ("tries", 9),
                        ("key_variable", "OTHER"), ("voices", ["z"]), ("languages", ["ja"])]:  # fmt: skip
        assert client(**{name: value}).identity() == base, name
    for name, value in [("model", "tts"), ("revision", "2"), ("parameters", {"temperature": 1}), ("format", "mp3"),
                        ("sample_rate", 24000), ("send_language", "lang"), ("send_direction", "")]:  # fmt: skip
        assert client(**{name: value}).identity() != base, name


# The documents


def test_every_option_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE)
    stated = {name: default.strip("`") for name, default in rows if name in OpenAI.__init__.__kwdefaults__}
    given = {
        name: "required" if name in ("url", "model", "voices", "languages") else "none" if default is None
        else default if name == "key_variable" else json.dumps(default) if isinstance(default, str) else f"{default:g}"
        for name, default in OpenAI.__init__.__kwdefaults__.items()
    }  # fmt: skip
    assert {name: default.strip('"') for name, default in stated.items()} == {
        name: default.strip('"') for name, default in given.items()
    }


def test_the_engine_of_the_documents_speaks() -> None:
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert code
    space: dict[str, Any] = {}
    exec(code.group(1), space)
    beep = space["Beep"](hertz=300)
    assert "version" in beep.identity()
    beep.load()
    spoken = list(beep.speak([chunk("Low.", voice=beep.voice("low")), chunk("High.", voice="high")]))
    assert [samples(one).dtype for one in spoken] == [np.float32] * 2
    with pytest.raises(ValueError, match="found voice 'none', expected "):
        beep.voice("none")


# Whole jobs


def job(make_job: MakeJob, url: str, **options: Any) -> Path:
    scripts = {"a": {"fr.srt": srt("Bonjour à tous.", "Il pleut."), "en.srt": srt("Good evening.", "It rains.")}}
    engine = {**OPTIONS, "languages": {"fr-fr": "French", "en-us": "English"}, "url": url, **options}
    return make_job(scripts, engine={"name": "openai", "options": engine}, speak={"replicas": 1}, default_voice="f2")


def test_a_wrong_option_is_an_error_of_the_job(make_job: MakeJob) -> None:
    with pytest.raises(ConfigError, match=r"^engine\.options\.format: found 'ogg', expected one of "):
        engine_of(load_job(str(job(make_job, "http://127.0.0.1:9", format="ogg"))))


@pytest.mark.usefixtures("ray_session")
def test_a_job_is_dubbed_by_the_server(server: SpeechServer, make_job: MakeJob, tmp_path: Path) -> None:
    summary = run(load_job(str(job(make_job, server.url))))
    assert (summary.exit_code, summary.failed, summary.spoken) == (0, [], len(server.requests))
    assert {(body["input"], body["language"], body["voice"]) for body in server.requests} == {
        ("Bonjour à tous.", "fr-fr", "f2"), ("Il pleut.", "fr-fr", "f2"),
        ("Good evening.", "en-us", "f2"), ("It rains.", "en-us", "f2"),
    }  # fmt: skip
    for language in ("fr", "en"):
        assert (tmp_path / "out/a" / language / "dub.flac").stat().st_size > 10000
        assert (tmp_path / "out/a" / language / "manifest.json").exists()

    asked = len(server.requests)
    assert run(load_job(str(job(make_job, server.url, concurrency=2, tries=3)))).idle
    assert len(server.requests) == asked
    server.faults["Il pleut."] = Refusal(422, "no rain today")
    summary = run(load_job(str(job(make_job, server.url, revision="2"))))
    assert (summary.exit_code, summary.spoken) == (3, 3)
    assert [row["found"] for row in summary.failed] == ["the server answered with status 422: no rain today"]


@pytest.mark.usefixtures("ray_session")
def test_a_job_without_its_server_ends_with_what_to_do(make_job: MakeJob) -> None:
    with SpeechServer() as server:
        gone = server.url
    with pytest.raises(ConfigError, match="'openai' cannot be loaded on a worker: found no server at ") as caught:
        run(load_job(str(job(make_job, gone))))
    assert str(caught.value).endswith("start it, or put its address into engine.options.url")
