"""Tiny random checkpoints in the layout of the real ones: names, files, control tokens, codec."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny_codec import tiny_codec
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import HiggsAudioV2Config

from pipeline.engines.higgs.model import HiggsV2, HiggsV3, HiggsV3Config

BOOKS, CODES = 8, 1026
SIZES = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 128, "vocab_size": 512,
}  # fmt: skip
V3_TOKENS = ("<|tts|>", "<|text|>", "<|audio|>", "<|ref_text|>", "<|ref_audio|>")
V2_TOKENS = {
    "<|begin_of_text|>": 300, "<|eot_id|>": 301, "<|start_header_id|>": 302, "<|end_header_id|>": 303,
    "<|scene_desc_start|>": 304, "<|scene_desc_end|>": 305, "<|audio_out_bos|>": 306, "<|AUDIO_OUT|>": 307,
    "<|reserved_special_token_6|>": 308, "<|audio_eos|>": 309,
}  # fmt: skip
V2_TEMPLATE = (
    "<|begin_of_text|>{% for message in messages %}{% if message['role'] == 'scene' %}"
    "<|scene_desc_start|>\n{{ message['content'][0]['text'] }}\n<|scene_desc_end|>{% else %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_out_bos|><|AUDIO_OUT|><|audio_eos|>{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>{% endif %}"
)
PREFIX = {
    r"^model\.embed_tokens\.": "tied.embedding.text_embedding.",
    r"^model\.layers\.": "body.layers.",
    r"^model\.norm\.": "body.norm.",
    r"^audio\.": "tied.embedding.modality_embeddings.0.embedding.",
}
CODEC = "tied.embedding.modality_embeddings.0.model."


def tiny_v3(**sizes: int) -> HiggsV3:
    """A random model in float32. Its lines end: EOS of the first codebook is often the likeliest code."""
    torch.manual_seed(3)
    config = HiggsV3Config(text_config={"model_type": "qwen3", **SIZES, **sizes}, audio_encoder_config=_audio())
    return _lively(HiggsV3(config).eval(), "audio.weight", 2.5)


def tiny_v2() -> HiggsV2:
    torch.manual_seed(2)
    config = HiggsAudioV2Config(
        **SIZES, num_codebooks=BOOKS, codebook_size=CODES, pad_token_id=0, bos_token_id=300, eos_token_id=301,
        audio_token_id=307, audio_delay_token_id=308, audio_bos_token_id=306,
    )  # fmt: skip
    return _lively(HiggsV2(config).eval(), "audio_lm_head.weight", 1.6)


def _audio() -> dict[str, Any]:
    return {
        "encoder_type": "discrete", "num_codebooks": BOOKS, "vocab_size": CODES, "out_dim": SIZES["hidden_size"],
        "tie_word_embeddings": True, "use_delay_pattern": True,
    }  # fmt: skip


def _lively(model: Any, head: str, ends: float) -> Any:
    """Weights so large that codes vary, and EOS of the first codebook louder than the others."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.3)
            if name == head:
                weight[CODES - 1] *= ends
                for book in range(1, BOOKS):  # only v2 heeds these, and a line would never get far
                    weight[(book + 1) * CODES - 1] = 0
    return model


def write_v3(folder: Path, model: HiggsV3 | None = None) -> Path:
    """A v3 checkpoint: one file with language model, text head and codec; bf16 but for the codec."""
    model, codec = model or tiny_v3(), tiny_codec()
    tensors = {_renamed(name): weight.bfloat16() for name, weight in model.state_dict().items()}
    tensors["tied.head.text_head.weight"] = tensors["tied.embedding.text_embedding.weight"].clone()
    tensors |= {CODEC + name: weight.float() for name, weight in codec.state_dict().items()}
    config = model.config.to_dict()
    text = config["text_config"] | {"rope_theta": None}
    text.pop("rope_parameters")
    shape = {"model_type": "higgs_multimodal_qwen3", "audio_token_id": -100, "text_config": text}
    shape["architectures"] = ["HiggsMultimodalQwen3ForConditionalGeneration"]
    _write(folder, {**shape, "audio_encoder_config": _audio()}, tensors)
    (folder / "higgs_audio_v2_tokenizer.json").write_text(json.dumps(codec.config.to_dict(), default=str))
    _tokenizer(dict.fromkeys(V3_TOKENS)).save(str(folder / "tokenizer.json"))
    return folder


def write_v2(folder: Path, model: HiggsV2 | None = None) -> Path:
    """A v2 checkpoint as transformers saves it, with its codec in a folder of its own."""
    model = model or tiny_v2()
    model.to(torch.bfloat16).save_pretrained(folder)
    tiny_codec().save_pretrained(folder / "codec")
    _tokenizer(V2_TOKENS).save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(V2_TEMPLATE)
    return folder


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, default=str))
    save_file({name: weight.contiguous() for name, weight in tensors.items()}, folder / "model.safetensors")


def _renamed(name: str) -> str:
    for pattern, prefix in PREFIX.items():
        name = re.sub(pattern, prefix, name)
    return name


def _tokenizer(control: dict[str, int | None]) -> Tokenizer:
    """Bytes, without merges, and control tokens at their ids."""
    vocab = {char: n for n, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {f"unused{n}": n for n in range(len(vocab), 300)} | {
        name: place for name, place in control.items() if place is not None
    }
    made = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True) for name in control])
    return made
