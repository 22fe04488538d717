"""How fast the Higgs engine speaks: random weights at the real shape, lengths of real speech.

python benchmarks/higgs.py [--rows 1 16 64 128 256] [--modes none int8 nf4] [--speech DIR] [--json FILE]

Needs the extra ``gpu``. Without a GPU a scaled-down model runs on the CPU, and every line says so: its figures are only
good for comparing one version of the code with another.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from higgs_plain import plain
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from transformers import HiggsAudioV2TokenizerConfig, HiggsAudioV2TokenizerModel
from watermark_clips import table

from pipeline.engines.higgs import load, memory, prompt
from pipeline.engines.higgs.checkpoint import Checkpoint, geometry, read_checkpoint
from pipeline.engines.higgs.codec import Codec
from pipeline.engines.higgs.decode import Decoder, Row
from pipeline.engines.higgs.model import HiggsV3, HiggsV3Config
from pipeline.engines.higgs.sampling import Sampling

FRAME_RATE, BOOKS, CODES = 25, 8, 1026
REFERENCE, LETTERS = 6.0, 15  # seconds of the clip, letters of text for each second of speech
SECONDS = (2.1, 3.4, 4.8, 6.0, 7.7, 9.9, 12.6, 15.1)  # where no speech is given: eighths of LibriSpeech's utterances
LENGTH = 1024  # positions of a row
WAVES = 2.0  # how often the rows are filled
GRAIN = 1 << 28  # bytes that are copied to learn the bandwidth
SHAPES: dict[str, dict[str, int]] = {
    "real 4B": {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "intermediate_size": 9728, "vocab_size": 151936,
    },
    "scaled-down": {
        "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
        "head_dim": 64, "intermediate_size": 1536, "vocab_size": 4096,
    },
}  # fmt: skip


def write_random(folder: Path, shape: str, device: torch.device) -> Checkpoint:
    """A checkpoint of random weights in the layout of v3, with a codec; scaled down both are."""
    text = {"model_type": "qwen3", **SHAPES[shape]}
    audio = {"encoder_type": "discrete", "num_codebooks": BOOKS, "vocab_size": CODES}
    config = HiggsV3Config(text_config=dict(text), audio_encoder_config=audio)
    with torch.device("meta"):
        model = HiggsV3(config)
    inverse = {ours: theirs for theirs, ours in HiggsV3.prefixes.items()}
    tensors = {}
    for name, like in model.state_dict().items():
        ours = next(prefix for prefix in inverse if name.startswith(prefix))
        weight = torch.randn(like.shape, device=device, dtype=torch.bfloat16) * 0.02
        tensors[inverse[ours] + name.removeprefix(ours)] = (weight + (like.ndim == 1)).cpu()
    codec_config = codec_shape(shape)
    codec = HiggsAudioV2TokenizerModel(HiggsAudioV2TokenizerConfig(**codec_config))
    tensors |= {load.CODEC + name: weight.float() for name, weight in codec.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    facts = {"model_type": "higgs_multimodal_qwen3", "text_config": text, "audio_encoder_config": audio}
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / load.CODEC_FILE).write_text(json.dumps(codec_config))
    vocabulary = {name: number for number, name in enumerate((*prompt.CONTROL, "a"))}
    Tokenizer(models.WordLevel(vocabulary, unk_token="a")).save(str(folder / "tokenizer.json"))
    return read_checkpoint(folder)


def codec_shape(shape: str) -> dict[str, Any]:
    config = json.loads(json.dumps(load.CODEC_CONFIG))
    if shape != "real 4B":
        config["acoustic_model_config"] |= {"decoder_hidden_size": 128, "encoder_hidden_size": 8, "hidden_size": 32}
        config["semantic_model_config"] |= {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64,
                                            "num_attention_heads": 2, "conv_dim": [16] * 7}  # fmt: skip
    return config


def lines(model: Any, seconds: Sequence[float], count: int) -> list[Row]:
    """Rows of forced length: nothing is EOS, so that the limit ends each."""
    codes = torch.randint(0, CODES - 2, (round(REFERENCE * FRAME_RATE), BOOKS))
    rows = []
    for number in range(count):
        frames = round(seconds[number % len(seconds)] * FRAME_RATE)
        words = [6] * round(LETTERS / 4 * frames / FRAME_RATE)
        made = prompt.v3(lambda _, words=words: words, replace(model.special, eos=CODES - 1), "", codes)
        rows.append(Row(name=frames, prompt=made, seed=number, limit=frames + BOOKS - 1))
    return sorted(rows, key=lambda row: -row.limit)


def spoken(decoder: Decoder, codec: Codec, rows: Sequence[Row]) -> float:
    """Seconds of audio, codec included."""
    decoder.waiting.extend(rows)
    samples = 0
    for batch in decoder.run():
        samples += sum(map(len, codec.decode([said.codes.clamp(max=CODES - 3) for said in batch])))
    return samples / codec.sample_rate


def measured(model: Any, codec: Codec, checkpoint: Checkpoint, mode: str, rows: int, args: Any) -> dict[str, Any]:
    decoder = Decoder(model, rows=rows, length=LENGTH, sampling=Sampling())
    spoken(decoder, codec, lines(model, args.seconds[:1], rows))  # captures graphs, warms caches
    synchronise(model.device)
    work = lines(model, args.seconds, max(len(args.seconds), round(WAVES * rows)) if rows > 1 else 4)
    began = time.monotonic()
    audio = spoken(decoder, codec, work)
    synchronise(model.device)
    wall = time.monotonic() - began
    step = step_time(decoder, model)
    need = memory.need(geometry(checkpoint.config), quantization=mode, rows=rows, length=LENGTH)
    position = memory.position(geometry(checkpoint.config))
    table = model.model.embed_tokens.weight.numel() * 2  # is not read in a step
    reach = sum(len(row.prompt) + row.limit / 2 for row in work) / len(work)
    share = (need.weights - table + rows * reach * position) / args.bandwidth / step
    found = {"mode": mode, "rows": rows, "audio s/s": audio / wall, "step ms": step * 1000, "of bandwidth": share}
    return {**found, "weights GB": weights(model) / 1e9, "cache GB": need.cache / 1e9}


def step_time(decoder: Decoder, model: Any, count: int = 24) -> float:
    """Seconds of one step with all rows in the middle of a line."""
    codec_free = lines(model, [6.0], decoder.rows)
    decoder.waiting.extend(codec_free)
    running = decoder.run()
    with torch.inference_mode():
        decoder._fill()
        decoder._steps()
        synchronise(model.device)
        began = time.monotonic()
        for _ in range(count // 4):
            decoder._steps()
        synchronise(model.device)
        wall = time.monotonic() - began
    running.close()
    decoder._held = [None] * decoder.rows
    decoder._state.done.fill_(True)
    return wall / (count // 4 * 4)


def weights(model: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in [*model.parameters(), *model.buffers()])


def bandwidth(device: torch.device) -> float:
    """Bytes per second that a copy reads and writes."""
    one, two = (torch.empty(GRAIN, dtype=torch.uint8, device=device) for _ in range(2))
    one.copy_(two)
    best = float("inf")
    for _ in range(8):
        synchronise(device)
        began = time.monotonic()
        one.copy_(two)
        synchronise(device)
        best = min(best, time.monotonic() - began)
    return 2 * GRAIN / best


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--modes", nargs="+", default=["none", "int8", "nf4"], choices=list(memory.BYTES))
    parser.add_argument("--speech", type=Path, default=Path("../shared/speech"), help="FLACs that lengths come from")
    parser.add_argument("--json", type=Path, help="file to append a line of JSON to for each row of the table")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = "real 4B" if device.type == "cuda" else "scaled-down"
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU: no GPU was found, these are no GPU figures"
    args.rows = args.rows or ([1, 16, 64, 128, 256] if device.type == "cuda" else [1, 4, 16])
    args.seconds = sorted(soundfile.info(path).duration for path in args.speech.glob("*.flac")) or list(SECONDS)
    args.seconds = [min(one, 15.0 if device.type == "cuda" else 4.0) for one in args.seconds][
        :: max(1, len(args.seconds) // 16)
    ]
    args.bandwidth = bandwidth(device)
    print(f"{shape} model on {card}; {args.bandwidth / 1e9:.0f} GB/s; lines of {args.seconds[0]:.1f} to "
          f"{args.seconds[-1]:.1f} s", flush=True)  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        checkpoint = write_random(Path(folder), shape, device)
        for mode in args.modes:
            model = load.language_model(checkpoint, mode, device)
            model.special = replace(model.special, eos=-1)
            codec = load.codec(checkpoint, None, device)
            if mode == "none":
                found.append(loop(model, codec, args))
            for rows in args.rows:
                found.append(measured(model, codec, checkpoint, mode, rows, args))
                print(found[-1], flush=True)
                if args.json:
                    with args.json.open("a") as file:
                        file.write(json.dumps({"shape": shape, "card": card, **found[-1]}) + "\n")
            del model
    head = ["mode", "rows", "audio s/s", "step ms", "of bandwidth", "weights GB", "cache GB"]
    print("\n" + table(head, [[one.get(name, "") for name in head] for one in found]))
    best = max(one["audio s/s"] for one in found[1:])
    print(f"\nbest: {best:.1f} audio s/s, {best / found[0]['audio s/s']:.1f} times the plain loop; {shape} on {card}")


def loop(model: Any, codec: Codec, args: Any) -> dict[str, Any]:
    """The plain loop: one row after the other, a growing cache, the codec row by row."""
    [row] = lines(model, [min(4.0, args.seconds[-1])], 1)
    began = time.monotonic()
    codes = plain(model, row.prompt, seed=1, limit=row.limit, sampling=Sampling())
    codec.decode([codes.clamp(max=CODES - 3)])
    synchronise(model.device)
    wall = time.monotonic() - began
    return {
        "mode": "plain loop",
        "rows": 1,
        "audio s/s": len(codes) / FRAME_RATE / wall,
        "step ms": wall / row.limit * 1000,
    }


if __name__ == "__main__":
    main()
