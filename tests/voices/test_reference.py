"""Reference clips: what is measured in them, which span of a long recording is chosen, what is refused and why."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cloning import OTHER, clip

from pipeline.audio.codec import decode
from pipeline.store import Store
from pipeline.voices.reference import LONGEST, RATE, SHORTEST, Reference, choose, read_reference


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Six seconds of speech at 24 kHz."""
    return decode(clip(tmp_path_factory.mktemp("clips") / "anna.f2.wav"), RATE)[0]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return decode(clip(tmp_path_factory.mktemp("clips") / "anna.f2.wav", OTHER), RATE)[0]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def hiss(count: int, level: float) -> np.ndarray:
    noise = np.random.default_rng(7).standard_normal(count) * 10 ** (level / 20)
    return noise.astype(np.float32)


def test_what_is_hashed_is_the_file_that_is_heard(tmp_path: Path) -> None:
    path = clip(tmp_path / "anna.f2.wav")
    found = read_reference(str(path))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    Store(f"memory://{tmp_path.name}").write("anna.wav", path.read_bytes())  # a URL is read once in a process
    remote = read_reference(f"memory://{tmp_path.name}/anna.wav")
    assert remote.sha256 == found.sha256
    assert np.array_equal(remote.samples, found.samples)


def test_a_good_clip_is_taken_whole_and_has_no_faults(spoken: np.ndarray) -> None:
    found = choose(np.concatenate([silence(1), spoken, silence(1)]))
    assert found.faults() == {}
    assert not found.chosen
    assert found.start == pytest.approx(0.9, abs=0.1)
    assert found.seconds == pytest.approx(len(spoken) / RATE + 0.15, abs=0.15)
    assert SHORTEST <= found.sound <= LONGEST
    assert -35 < found.level < -5


@pytest.mark.parametrize(
    ("change", "fault", "told"),
    [
        (lambda x: x[: 2 * RATE], "short", "2.0 s of sound"),
        (lambda x: x * 10 ** (-40 / 20), "quiet", "speech at -"),
        (lambda x: np.clip(x * 30, -1, 1), "clipped", "of its samples clipped"),
        (lambda x: x + hiss(len(x), 20 * np.log10(np.sqrt((x**2).mean())) - 6), "noisy", "dB above the noise"),
        (lambda x: np.concatenate([x[: 2 * RATE], silence(5), x[2 * RATE : 4 * RATE]]), "silent", "silence in it"),
    ],
)
def test_each_fault_has_its_own_message_with_value_and_limit(
    spoken: np.ndarray, change: object, fault: str, told: str
) -> None:
    found = choose(change(spoken).astype(np.float32)).faults()  # type: ignore[operator]
    assert fault in found
    assert told in found[fault][0]
    assert any(character.isdigit() for character in found[fault][1])


def test_of_a_long_recording_the_clear_part_is_chosen(spoken: np.ndarray, other: np.ndarray) -> None:
    noisy = other + hiss(len(other), -25)
    recording = np.concatenate([noisy, silence(0.5), spoken, silence(0.5), np.clip(other * 40, -1, 1)])
    found = choose(recording.astype(np.float32))
    begin, end = len(noisy) / RATE, (len(noisy) + len(spoken)) / RATE + 1
    assert found.chosen
    assert found.faults() == {}
    assert begin - 0.5 <= found.start
    assert found.start + found.seconds <= end + 0.5
    assert SHORTEST <= found.seconds <= LONGEST + 0.2


def test_a_recording_without_pauses_still_gives_ten_seconds() -> None:
    tone = (0.3 * np.sign(np.sin(2 * np.pi * 200 * np.arange(20 * RATE) / RATE))).astype(np.float32)
    assert choose(tone).seconds == pytest.approx(LONGEST, abs=0.1)


def test_silence_is_all_faults_and_no_crash() -> None:
    found: Reference = choose(silence(5))
    assert {"short", "quiet"} <= set(found.faults())
    assert found.seconds == 0


def test_a_recording_at_1_hz_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 1)
    with pytest.raises(ValueError, match="found 1 samples a second, expected 4000 or more"):
        read_reference(str(tmp_path / "a.wav"))


def test_a_file_is_read_again_once_it_changes(tmp_path: Path, spoken: np.ndarray, other: np.ndarray) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, spoken, RATE)
    first = read_reference(str(path))
    assert read_reference(str(path)) is first
    soundfile.write(path, other, RATE)
    assert not np.array_equal(read_reference(str(path)).samples[:RATE], first.samples[:RATE])
