"""Faults of takes are told, and speech in many languages has none."""

import functools

import numpy as np
import pytest

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample
from pipeline.engines.check import fault
from pipeline.engines.espeak import Espeak
from pipeline.model import Chunk
from pipeline.text.pace import predict

RATE = Espeak.sample_rate
SPEECH = {
    "en-us": "The keeper of the lighthouse has not seen a ship for three days and nights, and he does not know what he "
    "shall tell them when they come.",
    "fr-fr": "Le gardien du phare n'a pas vu de bateau depuis trois jours et trois nuits, et il ne sait pas quoi leur "
    "dire quand ils viendront.",
    "de": "Der Leuchtturmwärter hat seit drei Tagen und Nächten kein Schiff gesehen. Was soll er ihnen nur sagen, "
    "wenn sie eines Tages kommen?",
    "es": "El guardián del faro no ha visto un barco en tres días y tres noches, y no sabe qué decirles si llegan.",
    "cmn": "灯塔的看守人三天三夜没有看到一艘船，他不知道他们来的时候该说什么。",
    "ar": "حارس المنارة لم ير سفينة منذ ثلاثة أيام وثلاث ليال، ولا يعرف ماذا سيقول لهم عندما يأتون.",
    "hi": "प्रकाशस्तंभ के रखवाले ने तीन दिन और रात से कोई जहाज़ नहीं देखा है, और वह नहीं जानता कि क्या कहेगा।",
    "ja": "とうだいのばんにんは、みっかみばん、ふねをみていない。なんといえばいいのか、わからない。",
}
ODD = [
    "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V",
    "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen.",
    "Twenty one, twenty two, twenty three, twenty four, twenty five, twenty six, twenty seven, twenty eight.",
    "I want this, I want that, I want these, I want those, I want all, I want none, I want it, I want you.",
    "No, no, no, no, no, no, no, no, no, no, no, no, no, no!",
    "Ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha ha",
    "Noooooooooooooooooooooooooooooooooooo!",
    "Call 555 5555, or 0800 0000 0000 0000 0000.",
    "Well... perhaps... if they come... then... we shall... see.",
    "Yes.", "A", "Ssh!",
]  # fmt: skip


@functools.cache
def speech(text: str, language: str = "en-us", voice: str = "m1", rate: float = 1.0) -> Samples:
    variant, _, pitch = voice.partition("@")
    return Espeak()._synthesise(text, language, variant, int(pitch or 50), rate)


def chunk(text: str = SPEECH["en-us"], predicted: float = 0.0) -> Chunk:
    return Chunk(key="k", text=text, language="en-us", voice="m1", predicted=predicted)


def tell(samples: Samples, rate: int = RATE, text: str = SPEECH["en-us"], predicted: float = 0.0) -> str:
    return fault(np.asarray(samples, np.float32), rate, chunk(text, predicted))


@pytest.mark.parametrize("language", SPEECH)
def test_speech_has_no_fault(language: str) -> None:
    text = SPEECH[language]
    for voice, rate in (("m1", 1.0), ("f2@60", 1.0), ("m3@20", 0.8), ("f5", 1.6), ("m7", 2.0)):
        assert tell(speech(text, language, voice, rate), text=text, predicted=predict(text, language)) == ""


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_nor_has_it_at_another_rate(rate: int) -> None:
    for language, text in SPEECH.items():
        samples = np.clip(resample(speech(text, language), RATE, rate), -1, 1)
        assert tell(samples, rate, text, predict(text, language)) == ""


@pytest.mark.parametrize("text", ODD)
def test_odd_lines_have_no_fault(text: str) -> None:
    for voice in ("m1", "f2"):
        assert tell(speech(text, voice=voice), text=text, predicted=predict(text, "en-us")) == ""


def test_nor_has_a_long_take() -> None:
    texts = [text for language, text in SPEECH.items() for _ in range(2)]
    whole = np.concatenate([speech(text, language) for language, text in SPEECH.items()])
    assert tell(whole, text=" ".join(texts)) == ""


def test_nothing_and_what_is_no_number() -> None:
    assert tell(np.zeros(0)) == "empty: found no samples, expected speech"
    assert tell(np.array([0.1, np.nan, np.inf, -0.1])) == "broken: found 2 samples that are not finite, expected 0"


def test_silence() -> None:
    tone = np.sin(np.arange(RATE) * 0.1)
    assert tell(tone * 0) == "silent: found a peak of -200.0 dBFS, expected at least -60"
    assert tell(tone * 10 ** (-61 / 20)) == "silent: found a peak of -61.0 dBFS, expected at least -60"
    assert tell(tone * 10 ** (-55 / 20)) == "silent: found no 50 ms louder than -58.0 dBFS, expected at least -50"
    click = np.zeros(RATE)
    click[5000] = 0.05
    assert tell(click).startswith("silent: found no 50 ms louder than -56.")
    assert tell(speech(SPEECH["en-us"]) * 0.03) == ""
    assert tell(tone[:200] * 0.1, text="A") == ""  # shorter than 50 ms


def test_clipping() -> None:
    samples = speech(SPEECH["en-us"])
    assert tell(np.clip(samples * 20, -1, 1)).startswith("clipped: found ")
    assert tell(np.clip(samples * 20, -1, 1)).endswith("% of the samples at full scale, expected at most 1%")
    assert tell(samples / np.abs(samples).max()) == ""
    spiky = samples.copy()
    spiky[: len(spiky) // 3 * 3].reshape(-1, 3)[:, :2] = 1.0  # two in a row are peaks
    assert not tell(spiky).startswith("clipped")
    few = samples.copy()
    few[: len(few) // 110] = 1.0
    assert not tell(few).startswith("clipped")


def test_a_wrong_length() -> None:
    samples = speech(SPEECH["en-us"])
    seconds = len(samples) / RATE
    assert tell(samples, predicted=(seconds - 2) / 2.9) == ""
    assert tell(samples, predicted=1.2).startswith("too long: found 6.")
    assert tell(samples, predicted=1.2).endswith(" s of speech, expected at most 5.6")
    assert tell(samples, predicted=seconds * 4.8) == ""
    assert tell(samples[:RATE], predicted=10.0).endswith(" s of speech, expected at least 2.00")
    assert tell(samples[:RATE], predicted=10.0, text="Too few.") == ""
    assert tell(samples[:RATE], predicted=0.0) == ""


def test_silence_at_the_ends_is_not_speech() -> None:
    samples = speech(SPEECH["en-us"])
    silence = np.zeros(60 * RATE, np.float32)
    assert tell(np.concatenate([silence, samples, silence]), predicted=6.0) == ""
    assert tell(np.concatenate([samples[:RATE], silence]), predicted=10.0).startswith("too short: found 1.00 s")


def looped(seconds: float, count: int, wobble: float = 0.0) -> Samples:
    """Speech that ends in a loop; `wobble` is how much its turns differ in loudness, noise and length."""
    samples, random = speech(SPEECH["en-us"]), np.random.default_rng(7)
    turns = []
    for _ in range(count):
        shift = int(random.integers(-2000, 2001) * wobble)
        turn = samples[20000 + shift : 20000 + round(seconds * RATE)] * (1 + wobble * random.standard_normal())
        turns.append(turn + 0.03 * wobble * random.standard_normal(len(turn)))
    return np.concatenate([samples, *turns]).astype(np.float32)


@pytest.mark.parametrize(("seconds", "count"), [(0.12, 50), (0.23, 24), (0.5, 11), (0.77, 11), (0.95, 11)])
@pytest.mark.parametrize("wobble", [0.0, 0.05, 0.1])
def test_a_loop_at_the_end(seconds: float, count: int, wobble: float) -> None:
    found = tell(looped(seconds, count, wobble))
    assert found.startswith("stuck: found the same sound ")
    assert found.endswith(" times at the end, expected at most 8")


def test_a_loop_of_few_turns_or_before_the_end_is_none() -> None:
    assert tell(looped(0.5, 5)) == ""
    assert tell(looped(0.23, 12)) == ""
    assert tell(np.concatenate([looped(0.5, 12), speech(SPEECH["de"], "de")])) == ""
    assert tell(looped(0.5, 12), text="Go on, go on, go on, go on!") == ""


@pytest.mark.parametrize("rate", [8000, RATE, 48000])
@pytest.mark.parametrize("sound", ["hum", "vowel", "noise"])
def test_a_sound_that_does_not_end(sound: str, rate: int) -> None:
    time = np.arange(5 * rate) / rate
    vibrato = np.cumsum(120 * (1 + 0.02 * np.sin(2 * np.pi * 5 * time))) / rate
    tail = {
        "hum": 0.2 * np.sin(2 * np.pi * 100 * time),
        "vowel": sum(0.1 / k * np.sin(2 * np.pi * k * vibrato) for k in range(1, 20)),
        "noise": 0.05 * np.random.default_rng(1).standard_normal(len(time)),
    }[sound]
    start = resample(speech(SPEECH["en-us"]), RATE, rate)
    assert tell(np.concatenate([start, tail]), rate).startswith("stuck: found the same sound ")
    assert tell(tail, rate).startswith("stuck: found the same sound ")
