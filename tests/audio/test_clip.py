import numpy as np
import pytest

from pipeline.audio.clip import resample, stretch, trim

FACTORS = (0.5, 0.7, 0.9, 1.05, 1.2, 1.5, 2.0)
RATES = (22050, 24000, 48000)


def voiced(rate, seconds, pitch=130.0):
    """A vowel with an attack of 5 ms after 20 ms of silence."""
    t = np.arange(round(rate * seconds)) / rate
    voice = sum(np.sin(2 * np.pi * pitch * k * t + k) / k for k in range(1, 20)) * 0.2
    return (voice * np.clip(np.minimum((t - 0.02) / 0.005, (seconds - t) / 0.01), 0, 1)).astype(np.float32)


def decibels(samples):
    return 10 * np.log10(np.mean(samples.astype(np.float64) ** 2))


def rms_envelope(samples, rate):
    width = round(0.004 * rate)
    return np.sqrt(np.convolve(samples.astype(np.float64) ** 2, np.ones(width) / width, mode="same"))


def onset(samples, rate, share):
    envelope = rms_envelope(samples, rate)
    return float(np.argmax(envelope > share * envelope.max())) / rate


def pitch_of(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16 * len(samples)))
    hertz = np.fft.rfftfreq(16 * len(samples), 1 / rate)
    return hertz[np.argmax(spectrum * ((hertz > 80) & (hertz < 190)))]


def test_trim_cuts_silence_and_says_where_the_speech_starts():
    rate = 24000
    take = np.zeros(rate, np.float32)
    take[6000:12000] = 0.5
    take[0:3000] = 1e-4  # noise below the floor
    trimmed, lead = trim(take, rate)
    assert (len(trimmed), lead) == (6000 + 2 * 120, 120)
    assert (trimmed[lead : lead + 6000] == 0.5).all()


def test_trim_fades_the_kept_margins_without_touching_the_speech_or_its_input():
    take = np.full(4800, 0.001, np.float32)
    take[2000:3000] = 0.9
    before = take.copy()
    trimmed, lead = trim(take, 48000)
    assert (take == before).all()
    assert trimmed[0] < 2e-7
    assert trimmed[-1] < 2e-7
    assert (np.diff(trimmed[:lead]) > 0).all()
    assert (np.diff(trimmed[lead + 1000 :]) < 0).all()


def test_trim_keeps_speech_that_starts_at_the_edge():
    take = np.full(1000, 0.5, np.float32)
    trimmed, lead = trim(take, 48000)
    assert lead == 0
    assert (trimmed == take).all()


def test_trim_keeps_quiet_speech_beside_a_loud_peak_by_its_floor():
    take = np.zeros(4800, np.float32)
    take[1000], take[4000] = 1.0, 0.002  # 54 dB below
    assert len(trim(take, 48000, keep=0)[0]) == 1
    assert len(trim(take, 48000, floor_db=-60, keep=0)[0]) == 3001


@pytest.mark.parametrize("take", [np.zeros(500), np.full(500, 1e-4), np.zeros(0), np.zeros((500, 2))])
def test_a_silent_take_becomes_empty(take):
    trimmed, lead = trim(take.astype(np.float32), 48000)
    assert len(trimmed) == 0
    assert lead == 0


def test_trim_takes_stereo():
    take = np.zeros((48000, 2), np.float32)
    take[10000:20000, 1] = 0.5
    trimmed, lead = trim(take, 48000)
    assert trimmed.shape == (10000 + 2 * 240, 2)
    assert lead == 240


@pytest.mark.parametrize("target", [16000, 44100, 48000])
def test_resample_keeps_level_and_place(target):
    rate = 22050
    t = np.arange(rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * t) * np.hanning(rate)).astype(np.float32)
    got = resample(tone, rate, target)
    u = np.arange(target) / target
    wanted = 0.5 * np.sin(2 * np.pi * 440 * u) * np.interp(u, t, np.hanning(rate))
    assert got.dtype == np.float32
    assert len(got) == target
    assert np.abs(got - wanted).max() < 1e-3
    assert resample(tone, rate, rate) is tone


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("factor", FACTORS)
def test_stretch_keeps_pitch_level_and_onset(rate, seconds, factor):
    take = voiced(rate, seconds)
    got = stretch(take, rate, factor)
    assert got.dtype == np.float32
    assert len(got) == round(len(take) / factor)
    assert pitch_of(got, rate) == pytest.approx(pitch_of(take, rate), rel=0.01)
    assert decibels(got) == pytest.approx(decibels(take), abs=1.5)
    # At large factors an attack is drawn out over the analysis block, so its middle is what has to stay.
    assert onset(got, rate, 0.5) == pytest.approx(onset(take, rate, 0.5) / factor, abs=0.005)
    if 0.8 < factor < 1.8:
        assert onset(got, rate, 0.1) == pytest.approx(onset(take, rate, 0.1) / factor, abs=0.005)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("factor", FACTORS)
def test_stretch_displaces_nothing(rate, factor, speech):
    take = speech(rate, 6.0)
    wanted = rms_envelope(take, rate)
    got = rms_envelope(stretch(take, rate, factor), rate)
    wanted = np.interp(np.arange(len(got)) * factor, np.arange(len(wanted)), wanted)
    size = 2 * len(got)
    match = np.fft.irfft(np.fft.rfft(got, size) * np.conj(np.fft.rfft(wanted, size)))
    lag = int(np.argmax(match))
    assert abs(lag - size if lag > size // 2 else lag) < 0.005 * rate


@pytest.mark.parametrize("factor", [0.9, 1.05, 1.2, 1.5, 2.0])
def test_stretch_does_not_cut_the_tail(factor):
    rate = 24000
    take = voiced(rate, 1.0)
    tail = round(0.03 * rate)
    loss = decibels(take[-round(tail * factor) :]) - decibels(stretch(take, rate, factor)[-tail:])
    assert abs(loss) < 1.5


def test_stretch_gives_the_same_samples_again(speech):
    take = speech(22050, 2.0)
    assert stretch(take, 22050, 1.17).tobytes() == stretch(take.copy(), 22050, 1.17).tobytes()


def test_stretch_by_one_is_the_take_itself_and_of_nothing_is_nothing():
    take = voiced(22050, 0.2)
    assert stretch(take, 22050, 1.0) is take
    assert len(stretch(take[:0], 22050, 1.5)) == 0


def test_stretch_takes_stereo():
    take = np.stack([voiced(24000, 0.5), np.zeros(12000, np.float32)], axis=1)
    got = stretch(take, 24000, 1.25)
    assert got.shape == (9600, 2)
    assert decibels(got[:, 0]) > decibels(got[:, 1] + 1e-9) + 60


@pytest.mark.parametrize("factor", [0.49, 2.01, 0.0, -1.0, float("nan")])
def test_stretch_refuses_other_factors(factor):
    with pytest.raises(ValueError, match="stretch factor must be"):
        stretch(voiced(22050, 0.1), 22050, factor)


def test_summing_two_tracks_halves_neither(speech):
    one, two = speech(24000, 2.0, seed=1), speech(24000, 2.0, seed=2)
    both = resample(one + two, 24000, 48000)
    assert np.abs(both - resample(one, 24000, 48000) - resample(two, 24000, 48000)).max() < 1e-5
