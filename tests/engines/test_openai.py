"""A client of the OpenAI speech API against a real server, over real connections."""

import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeJob, srt

from pipeline.audio.clip import resample, trim
from pipeline.config import ConfigError, load_job
from pipeline.engines import Spoken, open_engine, openai
from pipeline.engines.openai import OpenAI
from pipeline.model import Chunk
from pipeline.plan import engine as engine_of
from pipeline.run import run
from tests.engines.speech_server import Delay, Refusal, SpeechServer
from tests.proxy import FaultProxy

SECRET = "sk-test-5e1f2a"
DOCUMENT = Path(__file__).parents[2] / "docs/engines.md"
LINES = {
    "The keeper of the lighthouse has not seen a ship.": "en-us",
    "Le gardien du phare n'a pas vu de bateau.": "fr-fr",
    "Der Wärter hat kein Schiff gesehen.": "de",
    "El guardián no ha visto ningún barco.": "es",
}
LINE = next(iter(LINES))
OPTIONS: dict[str, Any] = {
    "url": "http://127.0.0.1:9", "model": "espeak", "voices": ["m1", "f2", "m3@40"],
    "languages": sorted(set(LINES.values())), "sample_rate": 22050,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[SpeechServer]:
    with SpeechServer() as server:
        yield server


def client(server: SpeechServer | None = None, **options: Any) -> OpenAI:
    return OpenAI(**{**OPTIONS, **({"url": server.url} if server else {}), **options})


def chunk(text: str = LINE, **keys: Any) -> Chunk:
    return Chunk(**{"key": f"{text}-key", "text": text, "language": LINES.get(text, "en-us"), "voice": "m1", **keys})


def one(engine: OpenAI, wanted: Chunk | None = None) -> Spoken:
    (spoken,) = engine.speak([wanted or chunk()])
    return spoken


def samples(spoken: Spoken) -> np.ndarray:
    assert spoken.samples is not None, spoken.error
    return spoken.samples


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


# What goes wrong


@pytest.mark.parametrize("fault", [Refusal(429), Refusal(500), Refusal(502), Refusal(503), Refusal(504), "reset",
                                   "cut", "slow"])  # fmt: skip
@pytest.mark.parametrize("form", ["wav", "pcm"])
def test_what_may_mend_is_tried_again(server: SpeechServer, fault: Any, form: str) -> None:
    slow = fault == "slow"
    server.script.extend([Delay(2)] if slow else [fault, fault])
    spoken = one(client(server, format=form, timeout=0.5 if slow else 10))
    assert np.array_equal(samples(spoken), server.sent[LINE])
    assert len(server.requests) == (2 if slow else 3)
    assert all(body == server.requests[0] for body in server.requests)  # a fault of the line changes no seed


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Refusal(503, "overloaded"), "status 503: overloaded"),
        (Refusal(500, ""), "status 500: Internal Server Error"),
        (Refusal(429, '{"detail": "slow\\n  down"}'), "status 429: slow down"),
        ("reset", "an answer that breaks off"),
        ("cut", "an answer that breaks off: found"),
        (Delay(2), "no answer within 0.15 s"),
    ],
)
def test_after_the_last_try_the_error_says_how_often_and_why(server: SpeechServer, fault: Any, reason: str) -> None:
    server.faults["m1"] = fault
    timeout = 0.15 if isinstance(fault, Delay) else 10
    spoken = one(client(server, tries=3, timeout=timeout))
    assert spoken.samples is None
    assert spoken.error.startswith(f"3 of 3 tries failed, the last with {reason}")
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 404, 413, 415, 418, 422])
def test_what_will_not_mend_is_not_tried_again(server: SpeechServer, status: int) -> None:
    server.faults["m1"] = Refusal(status, json.dumps({"error": {"message": "no\n such thing; " + "x" * 1000}}))
    error = one(client(server)).error
    assert error == f"the server answered with status {status}: no such thing; {'x' * 285}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "said"), [("json", "CUDA out of memory"), ("text", "Model is loading, please wait…")]
)
@pytest.mark.parametrize("form", ["wav", "pcm", "mp3"])
def test_words_instead_of_audio_are_quoted(server: SpeechServer, fault: str, said: str, form: str) -> None:
    server.script.append(fault)
    assert one(client(server, format=form)).error == f"the server answered with text instead of audio: {said}"
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["", SECRET])
def test_a_refused_key_is_not_shown(server: SpeechServer, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    server.key = "sk-another"
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    engine = client(server)
    error = one(engine).error
    with pytest.raises(RuntimeError, match="status 401") as caught:
        engine.load()
    for text in (error, str(caught.value)):
        assert f"the key in the environment variable OPENAI_API_KEY is {'refused' if key else 'missing'}" in text
    assert "status 401: Incorrect API key provided" in error
    for text in (error, str(caught.value), json.dumps(engine.identity()), repr(engine), str(vars(engine))):
        assert SECRET not in text
    assert len(server.requests) == 1


def test_a_key_with_odd_characters_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\r\nX-Other: 1")
    with pytest.raises(RuntimeError, match="OPENAI_API_KEY: found characters that no key has") as caught:
        client().load()
    assert SECRET not in str(caught.value)


def test_a_bad_line_does_not_disturb_the_others(server: SpeechServer) -> None:
    server.faults = {"A.": Refusal(422), "B.": Refusal(503), "C.": "json", "D.": "reset", "E.": "silent"}
    wanted = [*(chunk(text) for text in server.faults), *(chunk(text) for text in LINES)]
    found = {spoken.chunk.text: spoken for spoken in client(server, tries=2).speak(wanted)}
    assert len(found) == len(wanted)
    assert all(found[text].error and found[text].samples is None for text in server.faults)
    assert all(np.array_equal(samples(found[text]), server.sent[text]) for text in LINES)


def test_the_server_is_given_the_time_that_it_asks_for(server: SpeechServer) -> None:
    server.script.append(Refusal(429, headers={"Retry-After": "1"}))
    started = time.monotonic()
    assert samples(one(client(server))).size
    assert 1.0 <= time.monotonic() - started < 2.5


def test_but_no_more_than_the_longest_wait(server: SpeechServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "LONGEST_WAIT", 0.1)
    server.script.append(Refusal(503, headers={"Retry-After": "86400"}))
    started = time.monotonic()
    assert samples(one(client(server))).size
    assert 0.1 <= time.monotonic() - started < 2


def test_waits_grow_and_depend_on_the_chunk_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", 0.5)
    for count, most in ((1, 0.5), (2, 1.0), (5, 8.0)):
        waits = [openai._backoff(f"key {n}", count) for n in range(20)]
        assert all(most / 2 <= wait <= most for wait in waits)
        assert len(set(waits)) == 20
        assert waits == [openai._backoff(f"key {n}", count) for n in range(20)]


def test_what_a_retry_after_means() -> None:
    def date(seconds: float) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert [openai._pause(value) for value in ("0", "7", "0.5")] == [0, 7, 0.5]
    assert openai._pause(date(30)) == pytest.approx(30, abs=1.5)
    assert openai._pause(date(-30)) == 0
    assert [openai._pause(value) for value in ("", "soon", "-1", "nan", "inf", "1e9")] == [None] * 6


@pytest.mark.parametrize("fault", ["silent", "clipped", "short", "stuck", "empty"])
def test_a_bad_take_is_asked_for_again_with_the_next_seed(server: SpeechServer, fault: str) -> None:
    server.script.extend([fault, fault])
    spoken = one(client(server), chunk(predicted=3.0))
    assert np.array_equal(samples(spoken), server.sent[LINE])
    first = server.requests[0]["seed"]
    assert [body["seed"] for body in server.requests] == [first, first + 1, first + 2]
    assert [{**body, "seed": 0} for body in server.requests] == [{**server.requests[0], "seed": 0}] * 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("silent", "silent: found a peak of -200.0 dBFS, expected at least -60"),
        ("clipped", "% of the samples at full scale, expected at most 1%"),
        ("short", "s of speech, expected at least 0.60"),
        ("stuck", "times at the end, expected at most 8"),
        ("empty", "empty: found no samples, expected speech"),
    ],
)
def test_a_take_that_stays_bad_says_the_figure_and_the_limit(server: SpeechServer, fault: str, reason: str) -> None:
    server.faults["m1"] = fault
    spoken = one(client(server), chunk(predicted=3.0))
    assert spoken.error.startswith("4 takes of 4 were bad, the last ")
    assert spoken.error.endswith(reason)
    assert len(server.requests) == 4


def test_every_line_comes_through_a_bad_connection(server: SpeechServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with FaultProxy(host, int(port), 4, reset=0.12, truncate=0.12, error500=0.06, error503=0.06) as proxy:
        engine = client(server, url=proxy.endpoint, tries=12)
        for spoken in engine.speak([chunk(f"This is line {n}.") for n in range(16)]):
            assert np.array_equal(samples(spoken), server.sent[spoken.chunk.text])
        assert proxy.counts["requests"] - proxy.counts["delay"] > 16
        assert proxy.counts["requests"] > 16
        assert all(proxy.counts[fault] for fault in ("reset", "truncate", "error500", "error503"))


# Loading


@pytest.mark.parametrize("status", [200, 404, 405, 500])
def test_a_server_that_answers_is_there(status: int) -> None:
    with SpeechServer(models=status) as server:
        client(server).load()
        client(server, url=f"{server.url}/v1/").load()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_without_a_server_is_no_server(status: int) -> None:
    with (
        SpeechServer(models=status) as server,
        pytest.raises(RuntimeError, match=rf"no server at .* \(status {status}"),
    ):
        client(server).load()


def test_a_server_out_of_reach_is_named() -> None:
    with SpeechServer() as server:
        gone = server.url
    with pytest.raises(RuntimeError, match="found no server at ") as caught:
        client(url=gone).load()
    assert str(caught.value).startswith(f"found no server at {gone} (")
    assert "start it, or put its address into engine.options.url" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Cannot connect to host" in one(client(url=gone, tries=2)).error


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
    ({"parameters": {"a": {1, 2}}}, "parameters: found Object of type set is not JSON serializable, expected"),
    ({"parameters": {"seed": -1}}, "parameters.seed: found -1, expected a whole number from 0 to 2147483647, or null"),
    ({"parameters": {"seed": "a"}}, "parameters.seed: found 'a', expected a whole number"),
    ({"send_language": "model"}, "send_language: found 'model', expected a field that is none of input, model"),
    ({"send_direction": "seed"}, "send_direction: found 'seed', expected a field that is none of"),
    ({"send_direction": None}, "send_direction: found nothing, expected the name of a field"),
    ({"send_direction": "language"}, "send_direction: found 'language', expected another field than send_language"),
    ({"max_rate": 0.5}, "max_rate: found 0.5, expected a number from 1 to 4"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_wrong_option_teaches_what_is_right(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="found") as caught:
        open_engine("openai", {**OPTIONS, **options})
    assert str(caught.value).startswith(f"engine.options.{message}")
    assert SECRET[-6:] not in str(caught.value)


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
