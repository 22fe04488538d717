"""The blocklist as a document and as a search: what is believed, what is found, how thresholds come about."""

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.safety.blocklist import (
    LEAST,
    Blocklist,
    BlocklistError,
    Calibration,
    built_in,
    calibrate,
    draft,
    hold,
    read_blocklist,
    read_calibration,
    read_draft,
    sign,
)  # fmt: skip
from pipeline.signing import SigningKey
from pipeline.store import canonical, pretty
from pipeline.voices.consent import moment
from pipeline.voices.encoder import Vector

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
FROM, UNTIL = "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"
NOW = moment("2026-11-24T00:00:00Z")
SIZE = 64


def unit(vectors: np.ndarray) -> Vector:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def speakers(count: int, clips: int, spread: float = 0.4, seed: int = 0) -> dict[str, list[Vector]]:
    """Made voices: a direction each, four pieces a clip around it."""
    random, found = np.random.default_rng(seed), {}
    for n in range(count):
        middle = unit(random.standard_normal(SIZE))
        found[f"s{n}"] = [
            unit(middle + spread * unit(random.standard_normal((4, SIZE)))) for _ in range(clips)
        ]  # fmt: skip
    return found


PEOPLE = speakers(60, 8)
CALIBRATION = calibrate("made/1", PEOPLE, 0.001)


def listed(people: dict[str, list[Vector]], version: int = 1) -> bytes:
    centres = {name: [unit(clip.sum(axis=0)) for clip in clips] for name, clips in people.items()}
    return sign(draft(CALIBRATION, centres), KEY, version=version, issued=FROM, expires=UNTIL)


def read(data: bytes) -> Blocklist:
    return read_blocklist(data, [KEY.public])


def test_a_calibration_holds_the_rate_that_was_asked_for() -> None:
    assert CALIBRATION.pairs == 60 * 59 * 8
    assert CALIBRATION.missed == 0
    fresh = speakers(80, 5, seed=5)
    found = read(listed({"x": speakers(1, 5, seed=9)["s0"]}))
    wrong = sum(found.nearest(unit(clip.sum(axis=0)))[1] >= CALIBRATION.threshold for c in fresh.values() for clip in c)
    assert wrong <= 4  # of 400, at a rate of 0.001


def test_a_calibration_survives_its_file() -> None:
    again = read_calibration(pretty(CALIBRATION.body()), "calibration.json")
    assert again.threshold == pytest.approx(CALIBRATION.threshold, abs=1e-6)
    assert (again.encoder, again.pairs, again.speakers) == ("made/1", CALIBRATION.pairs, 60)
    assert np.abs(again.cohort - CALIBRATION.cohort).max() < 1e-3


@pytest.mark.parametrize(("count", "rate"), [(LEAST - 1, 0.1), (LEAST, 0.001), (0, 0.1)])
def test_too_few_speakers_for_a_rate_are_told(count: int, rate: float) -> None:
    with pytest.raises(ValueError, match=rf"found {count} speakers and .* expected at least"):
        calibrate("made/1", speakers(count, 2), rate)


def test_a_listed_voice_is_found_and_a_stranger_is_not() -> None:
    found = read(listed({name: PEOPLE[name][:5] for name in ("s3", "s7")}))
    with pytest.raises(BlocklistError, match=r"take 1: found the voice of .s7., which is blocked \(a score") as told:
        found.refuse("take 1", PEOPLE["s7"][6])
    assert told.value.reason == "blocked"
    found.refuse("take 2", PEOPLE["s9"][6])
    assert found.nearest(unit(PEOPLE["s3"][7].sum(axis=0)))[0] == "s3"


def test_a_clip_of_two_speakers_is_refused_unless_it_is_takes() -> None:
    found = read(listed({"s3": PEOPLE["s3"][:5]}))
    two = np.concatenate([PEOPLE["s9"][0], PEOPLE["s20"][0]])
    with pytest.raises(BlocklistError, match="expected one speaker throughout") as told:
        found.refuse("a clip", two)
    assert told.value.reason == "speakers"
    found.refuse("takes", two, united=False)


def test_an_empty_list_blocks_nobody_and_says_so_in_its_version() -> None:
    body = {"calibration": CALIBRATION.body(), "people": [], "vectors": ""}
    found = read(sign(body, KEY, version=4, issued=FROM, expires=UNTIL))
    found.refuse("a clip", PEOPLE["s1"][0])
    assert (found.version, found.people) == (4, ())


def test_the_same_draft_gives_the_same_list() -> None:
    assert listed({"s3": PEOPLE["s3"]}) == listed({"s3": PEOPLE["s3"]})


def test_a_list_holds_until_it_expires_and_against_no_newer_one() -> None:
    found = read(listed({"s3": PEOPLE["s3"]}, version=3))
    assert hold(found, NOW, newest=3) is found
    with pytest.raises(BlocklistError, match="until 2026-12-01T00:00:00Z, which is over") as told:
        hold(found, moment(UNTIL))
    assert told.value.reason == "expired"
    with pytest.raises(BlocklistError, match="version 3, version 4 was seen before") as told:
        hold(found, NOW, newest=4)
    assert told.value.reason == "older"
    assert pickle.loads(pickle.dumps(told.value)).reason == "older"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["body"].update(people=["nobody"]), "altered"),
        (lambda d: d["body"].update(expires="2036-12-01T00:00:00Z"), "altered"),
        (lambda d: d["body"]["calibration"].update(threshold=999999999), "altered"),
        (lambda d: d.update(kind="consent"), "kind"),
        (lambda d: d.update(key=OTHER.public), "untrusted"),
        (lambda d: d.update(signature="x"), "altered"),
        (lambda d: d.update(more=1), "malformed"),
        (lambda d: d.pop("body"), "malformed"),
    ],
)
def test_a_list_that_was_altered_is_refused_with_the_reason(change: Any, reason: str) -> None:
    document = json.loads(listed({"s3": PEOPLE["s3"]}))
    change(document)
    with pytest.raises(BlocklistError) as told:
        read(canonical(document))
    assert told.value.reason == reason


def test_a_list_that_was_cut_off_is_refused() -> None:
    with pytest.raises(BlocklistError, match="expected JSON"):
        read(listed({"s3": PEOPLE["s3"]})[:-200])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 0}, "version: found 0"),
        ({"version": "1"}, "version: found '1'"),
        ({"expires": FROM}, "expected later than"),
        ({"expires": "tomorrow"}, "found the time 'tomorrow'"),
        ({"people": ["a", ""]}, "people: found other than names"),
        ({"people": ["a", "b", "c"]}, "vectors: found"),
        ({"vectors": "!"}, "vectors: found"),
        ({"vectors": "AAAA" * 32}, "not of unit length"),
        ({"calibration": {}}, "calibration: found {}"),
        ({"calibration": CALIBRATION.body() | {"threshold": "1"}}, "calibration.threshold: found '1'"),
        ({"calibration": CALIBRATION.body() | {"threshold": 10**400}}, "calibration.threshold: found a number of 401"),
        ({"calibration": CALIBRATION.body() | {"speakers": -(10**18)}}, "calibration.speakers: found a number of 19"),
        ({"calibration": replace(CALIBRATION, cohort=CALIBRATION.cohort[:3], speakers=3).body()}, "cohort: found 3"),
        ({"more": 1}, "expected calibration, expires"),
    ],
)
def test_what_is_no_list_is_refused_even_where_it_is_signed(change: dict[str, Any], told: str) -> None:
    body = json.loads(listed({"s3": PEOPLE["s3"]}))["body"] | change
    with pytest.raises(BlocklistError, match=told) as caught:
        read(KEY.sign("blocklist", body))
    assert caught.value.reason == "malformed"


def test_a_draft_is_read_back_and_another_file_is_told() -> None:
    body = draft(CALIBRATION, {"s3": [unit(PEOPLE["s3"][0].sum(axis=0))]})
    assert read_draft(canonical(body)) == body
    for data in (b"{}", b"[]", listed({"s3": PEOPLE["s3"]})):
        with pytest.raises(BlocklistError, match="found"):
            read_draft(data)


def test_the_embedded_calibration_is_of_the_embedded_encoder_and_makes_no_list() -> None:
    found = built_in()
    assert found.encoder.startswith("resemblyzer/")
    assert 0 < found.together < 1
    with pytest.raises(BlocklistError, match="without its cohort"):
        draft(found, {})


def test_a_calibration_file_that_is_none_is_named() -> None:
    for data in (b"{}", b"x", b"\xff", pretty({**CALIBRATION.body(), "rate": 0.1})):
        with pytest.raises(BlocklistError, match=r"^c\.json: "):
            read_calibration(data, "c.json")


def test_a_hundred_thousand_people_are_searched_exactly() -> None:
    random = np.random.default_rng(1)
    vectors = unit(random.standard_normal((100_000, SIZE)))
    found = Blocklist(version=1, issued=FROM, expires=UNTIL, calibration=CALIBRATION,
                      people=tuple(map(str, range(100_000))), vectors=vectors,
                      spread=(np.zeros(100_000, np.float32), np.ones(100_000, np.float32)))  # fmt: skip
    for n in (0, 54_321, 99_999):
        assert found.nearest(vectors[n])[0] == str(n)


def test_calibration_is_what_it_was() -> None:
    assert isinstance(CALIBRATION, Calibration)
    assert CALIBRATION.together < 1
