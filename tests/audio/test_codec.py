import hashlib
import io
import json
import random
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile

from pipeline.audio.codec import Delivery, Encoder, decode, decode_take, duration, encode_take
from pipeline.audio.encoder import INFO

TAGS = {
    "title": "Frühstück",
    "artist": "Ada",
    "comment": "take 3",
    "dub_key": "0f",
    "a custom one": '{"a": 1}',
}
FRAME = {"flac": 0, "wav": 0, "opus": 960, "mp3": 1152, "m4a": 1024}
DELIVERIES = [
    Delivery(format="flac"),
    Delivery(format="flac", rate=44100, bits=16, channels=2),
    Delivery(format="wav", bits=16),
    Delivery(format="wav", rate=22050, bits=24, channels=2),
    Delivery(format="wav", bits=32),
    Delivery(format="opus", bitrate=64),
    Delivery(format="opus", rate=24000, channels=2),
    Delivery(format="mp3", bitrate=128),
    Delivery(format="mp3", rate=24000, channels=2),
    Delivery(format="m4a"),
    Delivery(format="m4a", rate=44100, channels=2),
]
every_delivery = pytest.mark.parametrize(
    "delivery", DELIVERIES, ids=lambda d: f"{d.format}-{d.rate}-{d.bits}-{d.channels}"
)


def clicks(delivery, seconds=3.1):
    """A train of short bursts, alike in all channels; the last one at the very end."""
    rate = delivery.rate
    samples = np.zeros(round(rate * seconds) + 77, np.float32)
    t = np.arange(rate // 100) / rate
    burst = (0.8 * np.sin(2 * np.pi * 900 * t) * np.hanning(len(t))).astype(np.float32)
    for start in [rate // 50, rate // 2, rate, 2 * rate + 123, len(samples) - len(burst)]:
        samples[start : start + len(burst)] = burst
    return samples if delivery.channels == 1 else np.stack([samples] * delivery.channels, axis=1)


def encode(path, delivery, blocks, tags=TAGS):
    with Encoder(path, delivery, tags) as encoder:
        for block in blocks:
            encoder.write(block)
    return path.read_bytes()


def tags_of(path):
    with av.open(str(path)) as container:
        return dict(container.metadata) | dict(container.streams.audio[0].metadata)


@every_delivery
def test_what_is_decoded_lies_where_it_was_written(delivery, tmp_path):
    samples = clicks(delivery)
    path = tmp_path / f"a{delivery.extension}"
    encode(path, delivery, [samples])
    got, rate = decode(path, rate=delivery.rate, mono=False)
    assert rate == delivery.rate
    assert got.dtype == np.float32
    assert 0 <= len(got) - len(samples) <= FRAME[delivery.format]
    if delivery.lossless:
        assert len(got) == len(samples)
    got, samples = got[: len(samples), 0], samples.reshape(len(samples), -1)[:, 0]
    for start in range(0, len(samples), delivery.rate // 2):  # each click by itself
        piece = samples[start : start + delivery.rate // 2]
        if not piece.any():
            continue
        match = np.correlate(got[start : start + len(piece)], piece[np.flatnonzero(piece)[0] :], mode="full")
        peak = np.correlate(piece, piece[np.flatnonzero(piece)[0] :], mode="full")
        assert abs(int(match.argmax()) - int(peak.argmax())) <= delivery.rate / 1000
        assert match.max() == pytest.approx(peak.max(), rel=0.1)


@every_delivery
def test_duration_is_that_of_the_programme(delivery, tmp_path):
    samples = clicks(delivery)
    path = tmp_path / f"a{delivery.extension}"
    data = encode(path, delivery, [samples])
    for source in (path, data, io.BytesIO(data)):
        assert duration(source) == pytest.approx(len(samples) / delivery.rate, abs=1e-4)


@every_delivery
def test_the_cut_of_the_blocks_does_not_matter(delivery, tmp_path, cut):
    samples = clicks(delivery)
    whole = encode(tmp_path / "a", delivery, [samples])
    assert encode(tmp_path / "b", delivery, cut(samples, 1, 9000)) == whole


def test_two_processes_write_the_same_bytes(tmp_path):
    program = (
        "import hashlib, numpy as np, pathlib, sys\n"
        "from pipeline.audio.codec import Delivery, Encoder, encode_take\n"
        "x = (0.3 * np.random.default_rng(5).standard_normal(70000)).astype('f')\n"
        "for name in ('flac', 'wav', 'opus', 'mp3', 'm4a'):\n"
        "    path = pathlib.Path(sys.argv[1]) / name\n"
        "    with Encoder(path, Delivery(format=name), {'title': 'x', 'key': 'y'}) as encoder:\n"
        "        encoder.write(x)\n"
        "    print(name, hashlib.sha256(path.read_bytes()).hexdigest())\n"
        "print(hashlib.sha256(encode_take(x, 22050, {'a': 'b'})).hexdigest())\n"
    )
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        runs.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert runs[0] == runs[1]
    assert len(runs[0].split()) == 11


@every_delivery
def test_tags_are_read_back(delivery, tmp_path):
    path = tmp_path / f"a{delivery.extension}"
    encode(path, delivery, [clicks(delivery)])
    found = tags_of(path)
    if delivery.format != "wav":
        assert TAGS.items() <= found.items()
    else:
        other = json.loads(found.pop("comment"))
        assert found | other == TAGS


@pytest.mark.parametrize("name", ["flac", "wav", "opus", "mp3", "m4a"])
def test_the_order_of_the_tags_does_not_matter(name, tmp_path):
    samples = np.zeros(5000, np.float32)
    turned = dict(reversed(TAGS.items()))
    one = encode(tmp_path / "a", Delivery(format=name), [samples])
    assert encode(tmp_path / "b", Delivery(format=name), [samples], turned) == one
    assert encode_take(samples, 22050, TAGS) == encode_take(samples, 22050, turned)


def test_wav_has_a_field_of_its_own_for_each_tag_of_info(tmp_path):
    tags = {key: f"7{key}" for key in INFO}
    encode(tmp_path / "a.wav", Delivery(format="wav"), [np.zeros(100, np.float32)], tags)
    assert tags_of(tmp_path / "a.wav") == tags
    with soundfile.SoundFile(tmp_path / "a.wav") as sound:
        assert (sound.title, sound.artist, sound.comment) == ("7title", "7artist", "7comment")


@pytest.mark.parametrize("key", ["", "a=b", "ü", "a\n"])
def test_impossible_tags_are_refused(key, tmp_path):
    with pytest.raises(ValueError, match="tag"):
        Encoder(tmp_path / "a.flac", Delivery(format="flac"), {key: "x"})
    with pytest.raises(ValueError, match="tag"):
        encode_take(np.zeros(10, np.float32), 22050, {key: "x"})


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("name", ["flac", "wav"])
def test_lossless_files_give_the_samples_back(name, bits, tmp_path):
    whole = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 20000)
    samples = (whole / 2 ** (bits - 1)).astype(np.float32)
    path = tmp_path / f"a.{name}"
    encode(path, Delivery(format=name, bits=bits), [samples])
    assert (decode(path)[0] == samples).all()
    assert soundfile.info(path).subtype == f"PCM_{bits}"


def test_float_wav_gives_the_samples_back(tmp_path, speech):
    samples = speech(48000, 1.0)
    encode(tmp_path / "a.wav", Delivery(format="wav", bits=32), [samples])
    assert (decode(tmp_path / "a.wav")[0] == samples).all()


@every_delivery
def test_what_lies_outside_is_clipped_not_wrapped(delivery, tmp_path):
    t = np.arange(delivery.rate) / delivery.rate
    over = (1.3 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    samples = np.stack([over] * delivery.channels, axis=1)
    path = tmp_path / f"a{delivery.extension}"
    encode(path, delivery, [samples])
    got, _ = decode(path, rate=delivery.rate)
    assert np.abs(got[: len(over)] - np.clip(over, -1, 1)).max() < 0.35  # a wrapped one differs by 2


def test_summing_two_tracks_halves_neither(tmp_path, speech):
    one, two = speech(48000, 1.0, 1, peak=0.4), speech(48000, 1.0, 2, peak=0.4)
    encode(tmp_path / "a.wav", Delivery(format="wav", bits=32), [one + two])
    assert (decode(tmp_path / "a.wav")[0] == one + two).all()


@pytest.mark.parametrize("name", ["flac", "wav", "opus", "mp3", "m4a"])
def test_no_file_is_left_of_a_failure(name, tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="expected 1 channel"):
        encode(path, Delivery(format=name), [np.zeros(5000, np.float32), np.zeros((9, 3), np.float32)])
    assert not path.exists()
    with pytest.raises(ValueError, match="no samples"), Encoder(path, Delivery(format=name), {}):
        pass
    assert not path.exists()


def test_samples_that_cannot_be_written_are_refused(tmp_path):
    with Encoder(tmp_path / "a.flac", Delivery(format="flac"), {}) as encoder:
        encoder.write(np.zeros(10, np.float32))
        with pytest.raises(ValueError, match="finite"):
            encoder.write(np.array([0, np.nan], np.float32))
        with pytest.raises(ValueError, match="expected 1 channel"):
            encoder.write(np.zeros((10, 2), np.float32))


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("format", {"format": "aiff"}),
        ("rate", {"format": "opus", "rate": 44100}),
        ("rate", {"format": "mp3", "rate": 96000}),
        ("rate", {"format": "m4a", "rate": 12345}),
        ("rate", {"format": "wav", "rate": 0}),
        ("bits", {"format": "flac", "bits": 32}),
        ("bits", {"format": "wav", "bits": 8}),
        ("channels", {"format": "flac", "channels": 6}),
        ("bitrate", {"format": "mp3", "bitrate": 100}),
        ("bitrate", {"format": "mp3", "rate": 16000, "bitrate": 320}),
        ("bitrate", {"format": "opus", "bitrate": 600}),
        ("bitrate", {"format": "m4a", "rate": 8000, "bitrate": 96}),
    ],
)
def test_an_impossible_delivery_names_its_field(field, options):
    with pytest.raises(ValueError, match=f"^{field}: "):
        Delivery(**options)


@pytest.mark.parametrize("name", ["flac", "wav", "opus", "mp3", "m4a"])
def test_decode_takes_paths_bytes_and_files_and_resamples(name, tmp_path, speech):
    path = tmp_path / f"a.{name}"
    data = encode(path, Delivery(format=name, channels=2), [np.stack([speech(48000, 1.0)] * 2, axis=1)])
    wanted, rate = decode(path, 16000)
    assert rate == 16000
    assert wanted.ndim == 1
    for source in (str(path), data, io.BytesIO(data)):
        assert (decode(source, 16000)[0] == wanted).all()
    assert decode(data, mono=False)[0].shape[1] == 2


def test_decode_and_duration_take_video(tmp_path, speech):
    path = tmp_path / "a.mp4"
    samples = speech(48000, 2.0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        audio = container.add_stream("aac", rate=48000, layout="mono")
        video.width = video.height = 64
        for _ in range(50):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    assert duration(path) == pytest.approx(2.0, abs=0.05)
    assert len(decode(path)[0]) == pytest.approx(96000, abs=1024)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"fLaC",
        b"RIFF",
        b"RIFF1234WAVEfmt ",
        b"not sound at all " * 50,
        random.Random(0).randbytes(5000),
    ],
)
def test_rubbish_is_refused(data):
    with pytest.raises(ValueError, match=r"^audio: "):
        decode(data)


@pytest.mark.parametrize("container", ["WAV", "AU"])  # read by libsndfile and by FFmpeg
def test_a_rate_at_which_nothing_is_heard_is_refused(container):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1000), 1, format=container, subtype="PCM_16")
    with pytest.raises(ValueError, match=r"^audio: found 1 samples a second, expected 4000 or more"):
        decode(file.getvalue(), 24000)


def test_a_truncated_flac_is_refused(tmp_path, speech):
    data = encode(tmp_path / "a.flac", Delivery(format="flac"), [speech(48000, 1.0)])
    with pytest.raises(ValueError, match=r"^audio: "):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("format", ["flac", "wav", "mp3", "opus"])
def test_a_source_that_fails_is_not_called_damaged(format, share, tmp_path):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() + size > share * len(data):
                raise OSError("the line is dead")
            return super().read(size)

    delivery = Delivery(format=format)
    noise = np.random.default_rng(1).normal(0, 0.1, 60 * delivery.rate).astype(np.float32)
    data = encode(tmp_path / f"a.{format}", delivery, [noise])
    with pytest.raises(OSError, match="the line is dead"):
        decode(Failing(data))


def test_a_missing_file_is_missing_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "a.wav")


def test_a_take_comes_back_whole(speech):
    samples = speech(22050, 1.5)
    tags = {"text": "Grüße, = ~ \n 世界", "voice": "", "seed": "1"}
    data = encode_take(samples, 22050, tags)
    got, rate, found = decode_take(data)
    assert (rate, found) == (22050, tags)
    assert np.abs(got - samples).max() <= 0.5 / 32768 + 1e-9
    assert encode_take(got, rate, tags) == data  # nothing is lost a second time
    assert (decode(data)[0] == got).all()


def test_a_take_is_a_file_that_others_read(tmp_path, speech):
    (tmp_path / "a.flac").write_bytes(encode_take(speech(24000, 1.0), 24000, {"text": "Hallo"}))
    assert tags_of(tmp_path / "a.flac") == {"text": "Hallo"}
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"


def test_a_take_is_mono_and_not_empty():
    for samples in (np.zeros(0, np.float32), np.zeros((10, 2), np.float32)):
        with pytest.raises(ValueError, match="mono"):
            encode_take(samples, 22050, {})


def test_a_take_truncated_anywhere_is_refused(speech):
    data = encode_take(speech(22050, 1.0), 22050, {"text": "Hallo"})
    ends = {*range(120), *range(120, len(data), 499), *range(len(data) - 40, len(data))}
    for end in sorted(ends):
        with pytest.raises(ValueError, match="damaged take"):
            decode_take(data[:end])


def test_a_take_damaged_in_its_sound_is_refused(speech):
    data = encode_take(speech(22050, 1.0), 22050, {"text": "Hallo"})
    good = decode_take(data)[0]
    for place in range(120, len(data), 311):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        try:
            got = decode_take(damaged)[0]
        except ValueError:
            continue
        assert (got == good).all()  # only a bit that carries no sound may pass


def test_a_take_whose_checksum_differs_is_refused(speech):
    data = bytearray(encode_take(speech(22050, 0.2), 22050, {}))
    data[8 + 18] ^= 1
    with pytest.raises(ValueError, match="not those written"):
        decode_take(bytes(data))


def test_the_checksum_of_a_take_is_that_of_its_samples(speech):
    samples = speech(22050, 0.2)
    whole = np.rint(samples * 32768).astype("<i2")
    assert encode_take(samples, 22050, {})[26:42] == hashlib.md5(whole.tobytes()).digest()
