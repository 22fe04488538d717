"""A checkpoint on disk to models on a device: every tensor in its place, or an error that names it."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import (
    BitsAndBytesConfig,
    HiggsAudioV2TokenizerConfig,
    HiggsAudioV2TokenizerModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from pipeline.engines.higgs.checkpoint import Checkpoint, compare
from pipeline.engines.higgs.codec import Codec
from pipeline.engines.higgs.model import HiggsV2, HiggsV3, HiggsV3Config

CODEC = "tied.embedding.modality_embeddings.0.model."  # where a v3 checkpoint keeps its codec
CODEC_FILE = "higgs_audio_v2_tokenizer.json"  # the codec's configuration, where it is not the published one
CODEC_CONFIG: dict[str, Any] = {  # of bosonai/higgs-audio-v2-tokenizer; a v3 checkpoint comes without it
    "sample_rate": 24000, "semantic_sample_rate": 16000, "downsample_factor": 320, "codebook_dim": 64,
    "codebook_size": 1024, "target_bandwidths": [0.5, 1, 1.5, 2],
    "acoustic_model_config": {
        "model_type": "dac", "encoder_hidden_size": 64, "decoder_hidden_size": 1024, "hidden_size": 256,
        "downsampling_ratios": [8, 5, 4, 2, 3], "upsampling_ratios": [8, 5, 4, 2, 3], "hop_length": 960,
        "codebook_dim": 8, "codebook_size": 1024, "n_codebooks": 9, "sampling_rate": 16000,
    },
    "semantic_model_config": {"model_type": "hubert", "mask_time_prob": 0.0},
}  # fmt: skip
UNUSED = r"^semantic_model\.masked_spec_embed$"  # of training
OLD_NAMES = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
QUANTIZED: dict[str, Callable[[], BitsAndBytesConfig | None]] = {
    "none": lambda: None,
    # Without a threshold for outliers: finding them has no fixed shape, and a graph needs one.
    "int8": lambda: BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
    "nf4": lambda: BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    ),
}  # fmt: skip

Encode = Callable[[str], list[int]]


def language_model(checkpoint: Checkpoint, quantization: str, device: torch.device) -> HiggsV3 | HiggsV2:
    """The model in bf16, its linear layers quantised; embeddings, norms and heads are not. ValueError for a bad one."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # one warning for every call
    options: dict[str, Any] = {
        "dtype": torch.bfloat16, "device_map": {"": device}, "quantization_config": QUANTIZED[quantization](),
        "output_loading_info": True, "ignore_mismatched_sizes": True, "attn_implementation": "sdpa",
        "local_files_only": True,
    }  # fmt: skip
    model: HiggsV3 | HiggsV2
    if checkpoint.generation == 3:
        _check_v3(checkpoint)
        model, found = HiggsV3.from_pretrained(checkpoint.folder, key_mapping=HiggsV3.names(), **options)
        model.special = model.special.with_tokens(_tokenizer(checkpoint.folder).get_vocab())
    else:
        model, found = HiggsV2.from_pretrained(checkpoint.folder, **options)
    _check_all_loaded(checkpoint, found)
    return model.eval()


def _check_v3(checkpoint: Checkpoint) -> None:
    """Compare the file's header with what the model expects, before gigabytes are read."""
    with torch.device("meta"):
        model = HiggsV3(HiggsV3Config(**checkpoint.config))
    inverse = {ours: theirs for theirs, ours in HiggsV3.prefixes.items()}
    expected = {_prefixed(name, inverse): tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: shape for name, (_, shape) in checkpoint.tensors.items()}
    compare(expected, found, HiggsV3.elsewhere, checkpoint.folder)


def _prefixed(name: str, prefixes: dict[str, str]) -> str:
    ours = next(prefix for prefix in prefixes if name.startswith(prefix))
    return prefixes[ours] + name.removeprefix(ours)


def _check_all_loaded(checkpoint: Checkpoint, found: dict[str, Any]) -> None:
    unexpected = [name for name in found["unexpected_keys"] if not any(re.search(p, name) for p in HiggsV3.elsewhere)]
    kinds = {"misses": found["missing_keys"], "has no place for": unexpected, "has another shape of": [
        key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"]
    ]}  # fmt: skip
    for kind, names in kinds.items():
        if names:
            first = sorted(names)[0]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(f"{checkpoint.folder}: the checkpoint {kind} {first}{more}")


def tokenizer(checkpoint: Checkpoint) -> Encode:
    """Text to ids, read from tokenizer.json alone: what else the folder says of the tokenizer has drifted."""
    made = _tokenizer(checkpoint.folder)
    return lambda text: list(made.encode(text, add_special_tokens=False).ids)


def template(checkpoint: Checkpoint) -> Callable[[Any], str]:
    """A chat as the checkpoint's own template writes it. ValueError where it has none."""
    path = checkpoint.folder / "chat_template.jinja"
    if not path.is_file():
        raise ValueError(f"{checkpoint.folder}: found no chat_template.jinja, expected the template of Higgs v2")
    made, written = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(checkpoint.folder)), path.read_text()

    def write(chat: Any) -> str:
        return str(made.apply_chat_template(chat, chat_template=written, tokenize=False, add_generation_prompt=True))

    return write


def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def codec(checkpoint: Checkpoint, folder: Path | None, device: torch.device) -> Codec:
    """The codec in float32: out of a v3 checkpoint, or out of its own folder. ValueError for a bad one."""
    if checkpoint.generation == 2:
        model, found = HiggsAudioV2TokenizerModel.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
        _check_all_loaded(checkpoint, found)
        return Codec(model.to(device).eval())
    path = checkpoint.folder / CODEC_FILE
    config = json.loads(path.read_text()) if path.exists() else CODEC_CONFIG
    model = HiggsAudioV2TokenizerModel(HiggsAudioV2TokenizerConfig(**config))
    tensors = _codec_tensors(checkpoint)
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in tensors.items()}
    compare({CODEC + n: s for n, s in shapes.items()}, {CODEC + n: s for n, s in found.items()}, (), checkpoint.folder)
    model.load_state_dict({name: weight.float() for name, weight in tensors.items()})
    return Codec(model.to(device).eval())


def _codec_tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    tensors = {}
    for path in checkpoint.files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                if name.startswith(CODEC):
                    tensors[_modern(name.removeprefix(CODEC))] = file.get_tensor(name)
    return {name: weight for name, weight in tensors.items() if not re.search(UNUSED, name)}


def _modern(name: str) -> str:
    for old, new in OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
