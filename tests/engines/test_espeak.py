"""The embedded engine: what it speaks, and that a chunk alone decides how it sounds."""

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pipeline.engines import Spoken, open_engine
from pipeline.engines.espeak import VARIANTS, Espeak
from pipeline.model import Chunk

LONG = "The keeper of the lighthouse has not seen a ship for three days and nights."


def chunk(
    text: str, language: str = "en-us", voice: str = "m1", target: float | None = None, max_rate: float = 1.0
) -> Chunk:
    return Chunk(key="k", text=text, language=language, voice=voice, target=target, max_rate=max_rate)


def speak(*chunks: Chunk) -> list[Spoken]:
    return list(Espeak().speak(chunks))


def samples(*args: object, **kwargs: object) -> np.ndarray:
    (spoken,) = speak(chunk(*args, **kwargs))  # type: ignore[arg-type]
    assert spoken.samples is not None, spoken.error
    return spoken.samples


def seconds(spoken: Spoken) -> float:
    assert spoken.samples is not None
    return spoken.samples.size / Espeak.sample_rate


def test_every_language_that_is_offered_speaks() -> None:
    silent = []
    for language in Espeak().languages():
        audio = samples("Alabama", language)
        if audio.size < 0.15 * Espeak.sample_rate or np.abs(audio).max() < 0.1:
            silent.append(language)
    assert silent == []
    assert len(Espeak().languages()) > 100


def test_languages_sound_different() -> None:
    audio = {samples("Alabama 27", language).tobytes() for language in ("en-us", "fr-fr", "de", "es", "pl", "tr")}
    assert len(audio) == 6


def test_samples_are_mono_floats_within_full_scale() -> None:
    audio = samples(LONG)
    assert (audio.dtype, audio.ndim) == (np.float32, 1)
    assert 0.1 < np.abs(audio).max() <= 1


def test_what_was_spoken_before_changes_nothing() -> None:
    wanted = [chunk("Bonjour à tous.", "fr-fr", "f2"), chunk(LONG), chunk("你好。", "cmn", "m3@40")]
    alone = [speak(one)[0].samples for one in wanted]
    together = [spoken.samples for spoken in speak(chunk("Etwas anderes.", "de", "f5"), *wanted, *reversed(wanted))]
    for one, *others in zip(alone, together[1:4], reversed(together[4:]), strict=True):
        assert one is not None
        assert all(np.array_equal(one, other) for other in others)


def test_another_process_gives_the_same_samples() -> None:
    code = (
        "import hashlib; from pipeline.engines.espeak import Espeak; from pipeline.model import Chunk\n"
        "chunks = [Chunk(key='k', text=t, language=l, voice=v) for t, l, v in"
        " (('Vorher.', 'de', 'f1'), ('Bonjour à tous.', 'fr-fr', 'f2'))]\n"
        "print([hashlib.sha256(s.samples.tobytes()).hexdigest() for s in Espeak().speak(chunks)][1])"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == hashlib.sha256(samples("Bonjour à tous.", "fr-fr", "f2").tobytes()).hexdigest()


def test_every_own_voice_is_another_one() -> None:
    engine = Espeak()
    voices = engine.own_voices()
    assert [engine.voice(voice) for voice in voices] == list(voices)
    assert len({samples(LONG, "en-us", voice).tobytes() for voice in voices}) == len(voices) == 3 * len(VARIANTS)


def test_pitch_is_heard() -> None:
    def pitch(voice: str) -> float:
        audio = samples(LONG, "en-us", voice)
        spectrum = np.abs(np.fft.rfft(audio))
        hertz = np.fft.rfftfreq(audio.size, 1 / Espeak.sample_rate)
        voiced = (hertz > 60) & (hertz < 300)
        return float(np.average(hertz[voiced], weights=spectrum[voiced] ** 2))

    assert pitch("m1@20") < pitch("m1") < pitch("m1@90")


def test_voices_have_one_spelling() -> None:
    engine = Espeak()
    spellings = {"m1": "m1", "m1@50": "m1", "m1@": "m1", "f2@07": "f2@7", "f2@99": "f2@99", "croak": "croak"}
    assert {voice: engine.voice(voice) for voice in spellings} == spellings


@pytest.mark.parametrize("voice", ["", "auto", "m99", "M1", "m1@100", "m1@-1", "m1@x", "m1@4.5", "@50", "m1@1@2"])
def test_a_wrong_voice_teaches_what_is_right(voice: str) -> None:
    with pytest.raises(ValueError, match="expected an eSpeak variant") as caught:
        Espeak().voice(voice)
    assert str(caught.value).startswith(f"found voice {voice!r}, ")
    assert "m1, f1" in str(caught.value)


def test_without_a_target_it_speaks_at_its_normal_rate() -> None:
    assert speak(chunk(LONG))[0].rate == 1.0
    assert speak(chunk(LONG, target=60.0, max_rate=2.0))[0].rate == 1.0


@pytest.mark.parametrize("share", [0.95, 0.9, 0.8, 0.7, 0.6])
def test_a_target_is_met_by_rate(share: float) -> None:
    natural = seconds(speak(chunk(LONG))[0])
    (spoken,) = speak(chunk(LONG, target=natural * share, max_rate=2.0))
    assert seconds(spoken) <= natural * share
    assert 1.0 < spoken.rate < 1 / share * 1.15


@pytest.mark.parametrize("max_rate", [1.0, 1.1, 1.3, 2.0, 5.0])
def test_the_rate_never_exceeds_what_is_allowed(max_rate: float) -> None:
    (spoken,) = speak(chunk(LONG, target=0.5, max_rate=max_rate))
    assert spoken.rate == min(max_rate, Espeak.max_rate)


def test_text_of_any_kind_is_spoken_or_says_why_not() -> None:
    odd = ["", " ", "...", "—", "\ud800", "<b>bold</b>", "&amp;", "[[h@'loU]]", "a" * 5000, "🎉", "a\x00b", "你好"]
    for spoken in speak(*map(chunk, odd)):
        assert spoken.samples is not None or spoken.error
        assert spoken.samples is None or np.isfinite(spoken.samples).all()


def test_an_engine_is_found_by_its_name_or_class() -> None:
    assert isinstance(open_engine("espeak", {}), Espeak)
    assert isinstance(open_engine("pipeline.engines.espeak:Espeak", {}), Espeak)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("festival", {}, "engine: found 'festival', expected one of espeak, higgs, openai or package.module:Class"),
        ("no.such.module:Engine", {}, "engine: 'no.such.module:Engine' cannot be loaded: No module named 'no'"),
        ("pipeline.engines.espeak:Nope", {}, "cannot be loaded: module 'pipeline.engines.espeak' has no attribute"),
        ("pipeline.engines:open_engine", {"name": "espeak", "options": {}}, "is a function, expected a class"),
        ("espeak", {"speed": 3}, "engine: 'espeak' does not take these options"),
    ],
)
def test_a_wrong_engine_teaches_what_is_right(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match="engine: ") as caught:
        open_engine(name, options)
    assert message in str(caught.value)


def said(direction: str, **more: Any) -> np.ndarray:
    engine = Espeak()
    chunk = Chunk(key="", text="The lighthouse is on fire.", language="en-us", voice="m1", direction=direction, **more)
    return next(iter(engine.speak([chunk]))).samples


def pitch(samples: np.ndarray) -> float:
    """Hz of the strongest periodicity between 50 and 300 Hz."""
    spectrum = np.fft.rfft(samples, 2 * len(samples))
    repeats = np.fft.irfft(np.abs(spectrum) ** 2)[22050 // 300 : 22050 // 50]
    return 22050 / (22050 // 300 + int(repeats.argmax()))


def test_a_direction_is_heard() -> None:
    plain = said("")
    assert len(said("fast")) < 0.9 * len(plain) < 0.8 * len(said("slow"))
    assert np.std(said("shouting")) > 1.3 * np.std(plain) > 2 * np.std(said("whispering"))
    assert pitch(said("high pitch")) > 1.15 * pitch(plain) > 1.3 * pitch(said("low pitch"))


def test_words_that_mean_the_same_sound_the_same() -> None:
    assert np.array_equal(said("scared, whispers"), said("fear, whispering"))
    assert np.array_equal(said("banana"), said(""))


def test_a_slow_line_is_still_brought_into_its_time() -> None:
    seconds = len(said("slow", target=1.3, max_rate=2.0)) / 22050
    assert seconds <= 1.35
    assert len(said("slow")) / 22050 > 1.56


def test_it_says_what_it_cannot_do() -> None:
    assert Espeak().direct("afraid, sighs, backwards").lost == ("backwards", "sigh")
