"""The speaker encoder: the same voice is near, another is far, two voices in a clip are seen."""

from pathlib import Path

import numpy as np
import pytest
from cloning import OTHER, TEXT, clip

pytest.importorskip("torch")

from pipeline.audio.codec import decode
from pipeline.voices.encoder import EMBEDDED, RATE, _mel_bands, embed, open_encoder, speech, unity

ENCODER = open_encoder(EMBEDDED)
SPEECH = Path(__file__).parents[3] / "shared" / "speech"


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Two texts by each of two of eSpeak's voices, at 16 kHz."""
    folder, found = tmp_path_factory.mktemp("clips"), {}
    for variant in ("f2", "m7"):
        for n, text in enumerate((TEXT, OTHER)):
            found[f"{variant}.{n}"] = decode(clip(folder / f"v{n}.{variant}.wav", text), RATE)[0]
    return found


def test_embeddings_are_unit_vectors_that_tell_voices_apart(voices: dict[str, np.ndarray]) -> None:
    found = {name: embed(ENCODER, samples, RATE) for name, samples in voices.items()}
    assert all(vector.shape == (256,) and np.linalg.norm(vector) == pytest.approx(1) for vector in found.values())
    assert min(found["f2.0"] @ found["f2.1"], found["m7.0"] @ found["m7.1"]) > 0.8
    assert max(found["f2.0"] @ found["m7.0"], found["f2.1"] @ found["m7.1"]) < 0.75


def test_rate_level_and_silence_do_not_change_a_voice_much(voices: dict[str, np.ndarray]) -> None:
    samples = voices["f2.0"]
    louder = np.repeat(np.concatenate([np.zeros(RATE), 0.2 * samples, np.zeros(2 * RATE)]), 3).astype(np.float32)
    assert embed(ENCODER, samples, RATE) @ embed(ENCODER, louder, 3 * RATE) > 0.97


def test_two_speakers_in_one_clip_are_seen(voices: dict[str, np.ndarray]) -> None:
    one = np.concatenate([voices["f2.0"], voices["f2.1"]])
    two = np.concatenate([voices["f2.0"], voices["m7.1"]])
    assert unity(ENCODER.pieces(one, RATE)) > 0.8
    assert unity(ENCODER.pieces(two, RATE)) < 0.7
    assert unity(ENCODER.pieces(one[: 2 * RATE], RATE)) <= 1


@pytest.mark.parametrize("samples", [np.zeros(5 * RATE), np.zeros(0), np.zeros(100)])
def test_too_little_speech_is_told(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"found 0\.0 s of speech, expected at least 1 s"):
        speech(samples.astype(np.float32), RATE)


@pytest.mark.parametrize("name", ["nobody", "resemblyzer:x", "wavlm", "wavlm:"])
def test_an_unknown_encoder_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="found the encoder"):
        open_encoder(name)


def test_the_id_names_network_and_weights() -> None:
    assert open_encoder(EMBEDDED) is ENCODER
    assert ENCODER.id.startswith("resemblyzer/")
    assert len(ENCODER.id) == len("resemblyzer/") + 16


def test_the_mel_bands_are_slaneys() -> None:
    """As librosa and torchaudio have them: 3 mel for 200 Hz, equal areas."""
    import torchaudio

    theirs = torchaudio.functional.melscale_fbanks(201, 0, 8000, 40, RATE, norm="slaney", mel_scale="slaney")
    assert np.allclose(_mel_bands(400, 40), theirs.numpy().T, atol=1e-6)


def test_wavlm_is_read_from_a_checkpoint(tmp_path: Path, voices: dict[str, np.ndarray]) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, tdnn_dim=(32, 32, 32, 32, 64),
        xvector_output_dim=48, num_feat_extract_layers=7,
    )  # fmt: skip
    transformers.WavLMForXVector(config).save_pretrained(tmp_path)
    encoder = open_encoder(f"wavlm:{tmp_path}")
    found = embed(encoder, voices["f2.0"], RATE)
    assert found.shape == (48,)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert encoder.id.startswith("wavlm/")
    with pytest.raises(ValueError, match="expected a checkpoint of WavLMForXVector"):
        open_encoder(f"wavlm:{tmp_path}/nowhere")


@pytest.mark.skipif(not SPEECH.is_dir(), reason="needs shared/speech")
def test_real_voices_are_told_apart() -> None:
    files = sorted(SPEECH.glob("1688-*.flac"))[:4] + sorted(SPEECH.glob("2414-*.flac"))[2:5]
    found = [embed(ENCODER, *decode(file)) for file in files]
    same = [found[a] @ found[b] for a in range(4) for b in range(a)]
    other = [a @ b for a in found[:4] for b in found[4:]]
    assert min(same) > max(other)
