"""A client of the OpenAI speech API against a server that fails, refuses, breaks off or speaks badly."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from pipeline.engines import openai
from tests.engines.openai_client import LINE, LINES, SECRET, chunk, client, one, samples
from tests.engines.speech_server import Delay, Refusal, SpeechServer
from tests.proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quick")


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
