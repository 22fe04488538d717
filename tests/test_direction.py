"""Directions on their way from a script to takes."""

from dataclasses import replace
from typing import Any

from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.plan import TrackPlan, plan_track

LINE = "MARA ({}): The lamp is out again.\n"


def planned(make_job: Any, direction: str, **keys: Any) -> TrackPlan:
    job = load_job(str(make_job({"tale": {"en.txt": LINE.format(direction)}}, **keys)))
    [title] = read_catalogue(job)
    return plan_track(job, title, "en")


def test_synonyms_share_a_take(make_job: Any) -> None:
    [one], [two], [other] = (
        planned(make_job, direction).utterances for direction in ("whispering, afraid", "scared, whispers", "angry")
    )
    assert one.chunks[0] == replace(two.chunks[0])
    assert one.chunks[0].direction == "fear, whispering"
    assert one.chunks[0].key != other.chunks[0].key


def test_words_that_are_not_understood_are_noted_with_their_place(make_job: Any) -> None:
    found = planned(make_job, "backwards, afraid")
    [problem] = found.problems
    assert (problem.level, problem.line) == ("note", 1)
    assert str(problem).endswith(
        "tale.en.txt:1: found backwards in the direction 'backwards, afraid', expected what the engine espeak can "
        "follow; docs/engines.md lists it"
    )
    assert found.utterances


def test_a_strict_job_refuses_them(make_job: Any) -> None:
    found = planned(make_job, "backwards, afraid", strict=True)
    assert not found.utterances
    assert [problem.level for problem in found.problems] == ["error"]
    assert planned(make_job, "afraid", strict=True).utterances
