"""Higgs v3 and v2 behind one face: prompts and codes in, logits of the next codes out."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import nn
from torch.nn.functional import embedding, linear
from transformers import HiggsAudioV2Config, HiggsAudioV2ForConditionalGeneration, PreTrainedConfig, PreTrainedModel
from transformers.models.qwen3 import Qwen3Config, Qwen3Model

from pipeline.engines.higgs.cache import SlotCache
from pipeline.engines.higgs.prompt import PLACEHOLDER, Prompt, Special

ROPE_THETA = 1_000_000.0  # what v3 was trained with; its configuration says null, and transformers would take 10,000


class Model(Protocol):
    """A language model over audio codes. All tensors are on its device."""

    special: Special
    books: int  # codebooks
    codes: int  # of a codebook, BOS and EOS among them
    lead: int  # rows of BOS alone that it speaks before the first code
    early: bool  # whether a line may end within its first rows
    hoarse: bool  # whether EOS of any codebook ends the line, not only that of the first

    def cache(self, rows: int, length: int) -> SlotCache:
        """Memory for so many rows of so many tokens."""
        ...

    def read(self, prompts: Sequence[Prompt], width: int, cache: SlotCache) -> torch.Tensor:
        """Read prompts into the slots of the cache's window, padded to `width`; logits (prompts, books, codes)."""
        ...

    def step(self, codes: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """Take one row of codes (rows, books) for every row of the cache; logits (rows, books, codes)."""
        ...


class HiggsV3Config(PreTrainedConfig):
    model_type = "higgs_multimodal_qwen3"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": Qwen3Config}
    text_config: Any = None
    audio_encoder_config: Any = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.text_config, Qwen3Config):
            text = dict(self.text_config or {})
            rope = {"rope_type": "default", "rope_theta": text.pop("rope_theta", None) or ROPE_THETA}
            self.text_config = Qwen3Config(**{"rope_parameters": rope, **text})
        super().__post_init__(**kwargs)


class HiggsV3(PreTrainedModel):
    """Qwen3 between a fused embedding of all codebooks and the head that shares its weights."""

    config: HiggsV3Config
    config_class = HiggsV3Config
    base_model_prefix = "higgs"
    _supports_sdpa = True
    _no_split_modules: ClassVar[list[str]] = ["Qwen3DecoderLayer"]
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"^tied\."]
    # Names in the checkpoint -> here. The codec in the same file is loaded for itself, in float32.
    prefixes: ClassVar[dict[str, str]] = {
        "tied.embedding.text_embedding.": "model.embed_tokens.",
        "body.layers.": "model.layers.",
        "body.norm.": "model.norm.",
        "tied.embedding.modality_embeddings.0.embedding.": "audio.",
    }
    elsewhere = (r"^tied\.embedding\.modality_embeddings\.0\.model\.", r"^tied\.head\.")
    lead, early, hoarse = 0, False, False

    def __init__(self, config: HiggsV3Config):
        super().__init__(config)
        audio = config.audio_encoder_config
        self.books, self.codes = audio["num_codebooks"], audio["vocab_size"]
        self.special = Special(bos=self.codes - 2, eos=self.codes - 1, tokens={})
        self.model = Qwen3Model(config.text_config)
        self.audio = nn.Embedding(self.books * self.codes, config.text_config.hidden_size)
        self.offsets = nn.Buffer(torch.arange(self.books) * self.codes, persistent=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            self.offsets.copy_(torch.arange(self.books) * self.codes)

    @classmethod
    def names(cls) -> dict[str, str]:
        """The prefixes as transformers wants them."""
        return {"^" + re.escape(theirs): ours for theirs, ours in cls.prefixes.items()}

    def fused(self, codes: torch.Tensor) -> torch.Tensor:
        """Embeddings (..., hidden) of rows of codes (..., books): the sum over the codebooks."""
        return embedding(codes + self.offsets, self.audio.weight).sum(-2)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return linear(hidden, self.audio.weight).unflatten(-1, (self.books, self.codes))

    def cache(self, rows: int, length: int) -> SlotCache:
        return _cache(self.config.text_config, rows, length, self.audio.weight)

    def read(self, prompts: Sequence[Prompt], width: int, cache: SlotCache) -> torch.Tensor:
        ids = _padded(prompts, width, 0, self.device)
        embeds = self.model.embed_tokens(ids.clamp(min=0))
        codes = torch.cat([prompt.codes for prompt in prompts]).to(self.device)
        embeds[ids == PLACEHOLDER] = self.fused(codes).to(embeds.dtype)
        found = self.model(inputs_embeds=embeds, position_ids=_positions(ids), past_key_values=cache, use_cache=True)
        return self.logits(_last(found.last_hidden_state, prompts))

    def step(self, codes: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        found = self.model(inputs_embeds=self.fused(codes)[:, None], **_stepping(cache))
        return self.logits(found.last_hidden_state[:, 0])


class HiggsV2(HiggsAudioV2ForConditionalGeneration):
    """transformers' own class, driven row by row. Its audio tokens have feed-forward layers of their own."""

    config: HiggsAudioV2Config
    lead, early, hoarse = 1, True, True

    def __init__(self, config: HiggsAudioV2Config):
        super().__init__(config)
        self.books, self.codes = config.num_codebooks, config.codebook_size
        tokens = {"audio": config.audio_token_id, "delay": config.audio_delay_token_id}
        self.special = Special(bos=config.audio_stream_bos_id, eos=config.audio_stream_eos_id, tokens=tokens)

    def cache(self, rows: int, length: int) -> SlotCache:
        return _cache(self.config, rows, length, self.audio_lm_head.weight)

    def read(self, prompts: Sequence[Prompt], width: int, cache: SlotCache) -> torch.Tensor:
        ids = _padded(prompts, width, self.config.pad_token_id or 0, self.device)
        clips: dict[str, torch.Tensor] = {}
        if most := max(len(prompt.codes) for prompt in prompts):
            codes = torch.full((len(prompts), most, self.books), self.special.eos, device=self.device)
            for n, prompt in enumerate(prompts):
                codes[n, : len(prompt.codes)] = prompt.codes
            sizes = torch.tensor([len(prompt.codes) for prompt in prompts], device=self.device)
            there = torch.arange(most, device=self.device)[None] < sizes[:, None]
            clips = {"audio_input_ids": codes, "audio_input_ids_mask": there}
        found = self.model(
            input_ids=ids, position_ids=_positions(ids), past_key_values=cache, use_cache=True, **clips
        )  # fmt: skip
        return self._logits(_last(found.last_hidden_state, prompts))

    def step(self, codes: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        found = self.model(audio_input_ids=codes[:, None], **_stepping(cache))
        return self._logits(found.last_hidden_state[:, 0])

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.audio_lm_head(hidden).unflatten(-1, (self.books, self.codes))


def _cache(config: Any, rows: int, length: int, like: torch.Tensor) -> SlotCache:
    return SlotCache(
        layers=config.num_hidden_layers, heads=config.num_key_value_heads, size=config.head_dim,
        rows=rows, length=length, like=like,
    )  # fmt: skip


def _padded(prompts: Sequence[Prompt], width: int, pad: int, device: torch.device) -> torch.Tensor:
    """Ids (prompts, width): what follows a prompt is never seen by it, and overwritten as it speaks."""
    return torch.tensor([prompt.ids + [pad] * (width - len(prompt)) for prompt in prompts], device=device)


def _positions(ids: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def _last(hidden: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
    return hidden[torch.arange(len(prompts), device=hidden.device), ends]


def _stepping(cache: SlotCache) -> dict[str, Any]:
    window = cache.window
    return {
        "position_ids": window.positions[:, None], "attention_mask": window.mask(),
        "past_key_values": cache, "use_cache": True,
    }  # fmt: skip
