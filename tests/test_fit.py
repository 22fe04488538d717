"""Windows and places: pure arithmetic."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Fit
from pipeline.fit import pauses, place, predicted_overrun, targets, windows
from pipeline.model import Utterance

FIT = Fit()


def made(
    *spans: tuple[float | None, float | None], programme: float | None = None, fit: Fit = FIT
) -> list[float | None]:
    utterances = [
        Utterance(id=str(n), lines=(), place=n, text="x", start=start, end=end) for n, (start, end) in enumerate(spans)
    ]
    return [utterance.window for utterance in windows(utterances, fit, programme)]


def test_a_window_ends_a_guard_before_the_next_start() -> None:
    assert made((0, 1), (3, 4), (10, 11)) == [2.95, 9.95, None]
    assert made((0, 1), (3, 4), fit=Fit(guard=0.5)) == [2.5, None]


def test_a_window_never_ends_before_its_own_span() -> None:
    assert made((0, 3), (3, 4)) == [3, None]
    assert made((0, 3), (2, 4)) == [3, None]


def test_the_next_start_may_be_that_of_an_utterance_further_on() -> None:
    assert made((0, 5), (1, 2), (8, 9)) == [5, 7.95, None]
    assert made((0, 5), (1, 6), (5.5, 9)) == [5, 6, None]


def test_the_last_window_ends_with_the_programme() -> None:
    assert made((0, 1), (3, 4), programme=20.0) == [2.95, 20.0]
    assert made((0, 1), (3, 4), programme=3.5) == [2.95, 4]


def test_simultaneous_utterances_do_not_shorten_one_another() -> None:
    assert made((0, 2), (0, 1), (5, 6)) == [4.95, 4.95, None]
    assert made((0, 2), (0, 1), (0, 3), programme=9.0) == [9.0, 9.0, 9.0]
    assert made((0, 2), (0, 1)) == [None, None]
    assert made((0, 4), (0, 1), (3, 6)) == [4, 2.95, None]


def test_untimed_utterances_have_no_window() -> None:
    assert made((None, None), (None, None), programme=9.0) == [None, None]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), max_size=12), st.none() | st.floats(0, 130))
def test_a_window_holds_its_span_and_ends_before_what_follows(
    spans: list[tuple[float, float]], programme: float | None
) -> None:
    timed = sorted((round(start, 3), round(start + length, 3)) for start, length in spans)
    for (start, end), window in zip(timed, made(*timed, programme=programme), strict=True):
        later = [other - FIT.guard for other, _ in timed if other > start]
        limit = min([*later, *([] if programme is None else [programme])], default=None)
        if limit is None:
            assert window is None
        else:
            together = max(other for begin, other in timed if begin == start)
            assert window is not None
            assert max(end, limit) - 0.001 <= window <= max(together, limit) + 0.001


def test_what_fits_is_left_as_it_is() -> None:
    spot = place(start=100, natural=900, window=1000, fit=FIT)
    assert (spot.start, spot.length, spot.stretch, spot.overrun) == (100, 900, 1.0, 0)
    assert place(start=100, natural=10**9, window=None, fit=FIT).length == 10**9


def test_what_is_too_long_is_stretched_just_enough() -> None:
    spot = place(start=0, natural=1200, window=1000, fit=FIT)
    assert (spot.length, spot.stretch, spot.overrun) == (1000, 1.2, 0)


def test_what_cannot_fit_overruns_whole() -> None:
    spot = place(start=0, natural=2600, window=1000, fit=FIT)
    assert (spot.length, spot.stretch, spot.overrun) == (2000, 1.3, 1000)
    assert place(start=50, natural=130, window=50, fit=FIT).length == 100
    assert place(start=0, natural=2600, window=1000, fit=Fit(max_stretch=1)).length == 2600


@settings(deadline=None)
@given(
    st.integers(0, 10**7),
    st.integers(1, 10**7),
    st.none() | st.integers(0, 2 * 10**7),
    st.floats(1, 1.3),
    st.booleans(),
)
def test_nothing_is_cut_nor_stretched_over_the_limit(
    start: int, natural: int, window: int | None, limit: float, shift: bool
) -> None:
    if window is not None and shift:
        window += start
    spot = place(start=start, natural=natural, window=window, fit=Fit(max_stretch=limit))
    assert spot.start == start
    assert spot.length * spot.stretch == pytest.approx(natural, rel=1e-12)
    assert 1.0 <= spot.stretch <= limit * (1 + 1e-12)
    assert spot.length <= natural
    room = math.inf if window is None else max(1, window - start)
    fits = math.ceil(natural / limit) <= room
    assert spot.overrun == (0 if fits else spot.length - room)
    assert fits == (spot.length <= room)
    assert (spot.stretch == 1.0) == (natural <= room or spot.length == natural)


def test_targets_are_given_only_where_it_may_be_tight() -> None:
    assert targets([1.0, 2.0], None) == [None, None]
    assert targets([1.0, 2.0], 3.6) == [None, None]
    assert targets([1.0, 2.0], 3.5) == [1.15, 2.3]
    assert targets([], 1.0) == []


def test_targets_share_the_room_in_steps_of_50_ms() -> None:
    assert targets([1.0, 1.0], 1.5) == [0.75, 0.75]
    assert targets([1.0, 1.0], 1.59) == targets([1.0, 1.0], 1.51)
    assert targets([1.0], 0.0) == [0.2]
    assert targets([1.0], -3.0) == [0.2]


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.floats(0.1, 60))
def test_targets_never_exceed_the_room(predicted: list[float], room: float) -> None:
    found = targets(predicted, room)
    if found[0] is None:
        assert sum(predicted) * 1.2 <= room
    else:
        assert all(
            target == 0.2 or target <= room * p / sum(predicted) + 1e-6
            for target, p in zip(found, predicted, strict=True)
        )


def test_pauses_follow_sentences_and_clauses_but_not_the_end() -> None:
    assert pauses(["One.", "two,", "three and", "four!"]) == [0.25, 0.10, 0.10, 0.0]
    assert pauses(["One."]) == [0.0]
    assert pauses([]) == []


def test_an_overrun_is_predicted_with_what_rate_and_stretch_can_do() -> None:
    assert predicted_overrun(10.0, None, FIT, 2.0) == 0
    assert predicted_overrun(1.69, 1.0, FIT, 2.0) == pytest.approx(0)
    assert predicted_overrun(3.38, 1.0, FIT, 2.0) == pytest.approx(1)
    assert predicted_overrun(1.69, 1.0, FIT, 1.0) == pytest.approx(0.3)
