"""The arithmetic of GPU memory, against models of the real sizes and against what bitsandbytes really stores."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import BOOKS, CODES, write_v2, write_v3
from torch import nn
from transformers import HiggsAudioV2Config, HiggsAudioV2TokenizerConfig, HiggsAudioV2TokenizerModel

from pipeline.engines.higgs import decode, memory
from pipeline.engines.higgs.checkpoint import Geometry, geometry, read_checkpoint
from pipeline.engines.higgs.load import CODEC_CONFIG, language_model
from pipeline.engines.higgs.memory import BYTES, V2_3B, V3_4B, linears, most_rows, need, position
from pipeline.engines.higgs.model import HiggsV2, HiggsV3, HiggsV3Config

GB = 1e9
REAL = {"v3": V3_4B, "v2": V2_3B}


def model_of(size: Geometry) -> HiggsV3 | HiggsV2:
    """A model of these sizes, where the context says."""
    sizes = {
        "hidden_size": size.hidden, "num_hidden_layers": size.layers, "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads, "head_dim": size.head_dim, "intermediate_size": size.ffn,
        "vocab_size": size.vocabulary,
    }  # fmt: skip
    if size.forwards == 2:
        return HiggsV2(HiggsAudioV2Config(**sizes, pad_token_id=0, num_codebooks=size.books, codebook_size=size.codes))
    audio = {"num_codebooks": size.books, "vocab_size": size.codes}
    return HiggsV3(HiggsV3Config(text_config={"model_type": "qwen3", **sizes}, audio_encoder_config=audio))


def layer_weights(model: nn.Module) -> list[nn.Linear]:
    return [module for n, module in model.named_modules() if isinstance(module, nn.Linear) and "layers." in n]


@pytest.mark.parametrize("name", REAL)
def test_weights_are_those_of_a_model_of_the_real_size(name: str) -> None:
    size = REAL[name]
    with torch.device("meta"):
        model = model_of(size)
    assert size.layers * linears(size) == sum(module.weight.numel() for module in layer_weights(model))
    stored = 2 * sum(weight.numel() for weight in model.parameters())
    assert need(size, quantization="none", rows=0, length=1).weights == pytest.approx(stored, rel=1e-4)


def test_the_figures_of_v3_are_the_published_ones() -> None:
    """3.633 billion weights in linear layers, 7.27 GB in bf16, 1.87 GB in nf4; 147,456 bytes a position; 8.09 GB."""
    weights = V3_4B.layers * linears(V3_4B)
    assert weights == pytest.approx(3.633 * GB, rel=1e-3)
    assert weights * BYTES["none"] == pytest.approx(7.27 * GB, rel=1e-3)
    assert weights * BYTES["int8"] == pytest.approx(3.63 * GB, rel=3e-3)
    assert weights * BYTES["nf4"] == pytest.approx(1.87 * GB, rel=3e-3)
    assert position(V3_4B) == 147_456
    assert need(V3_4B, quantization="none", rows=1, length=1).weights == pytest.approx(8.09 * GB, rel=1e-3)
    assert need(V3_4B, quantization="none", rows=256, length=1070).cache == pytest.approx(40 * GB, rel=0.02)


@pytest.fixture(scope="module", params=REAL)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Geometry, Path]:
    """A checkpoint with layers as wide as scales need to be few, as they are in the real ones."""
    size = replace(
        REAL[request.param], layers=2, hidden=512, heads=8, head_dim=64, ffn=1536, vocabulary=512, books=BOOKS,
        codes=CODES,
    )  # fmt: skip
    write = {"v3": write_v3, "v2": write_v2}[request.param]
    return size, write(tmp_path_factory.mktemp("wide") / request.param, model_of(size))


@pytest.mark.parametrize("quantization", BYTES)
def test_a_loaded_model_takes_as_many_bytes_as_counted(written: tuple[Geometry, Path], quantization: str) -> None:
    size, folder = written
    model = language_model(read_checkpoint(folder), quantization, torch.device("cpu"))
    layers = layer_weights(model)
    kind = {"none": "Linear", "int8": "Linear8bitLt", "nf4": "Linear4bit"}[quantization]
    assert {type(layer).__name__ for layer in layers} == {kind}
    stored = sum(sum(tensor.nbytes for tensor in parts(layer)) for layer in layers)
    assert stored == pytest.approx(size.layers * linears(size) * BYTES[quantization], rel=0.02)
    quantised = {id(layer.weight) for layer in layers}
    rest = sum(weight.nbytes for weight in model.parameters() if id(weight) not in quantised)
    counted = need(size, quantization=quantization, rows=0, length=1).weights
    assert stored + rest == pytest.approx(counted, rel=0.02)


def parts(layer: Any) -> Iterator[torch.Tensor]:
    """All tensors that a linear layer keeps: its weight, and the scales of a quantised one."""
    yield layer.weight
    if (state := getattr(layer.weight, "quant_state", None)) is not None:
        yield from (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
    if (scales := getattr(layer.weight, "SCB", None)) is not None:
        yield scales


@pytest.mark.parametrize("name", ["v3", "v2"])
def test_a_cache_takes_as_many_bytes_as_counted(checkpoints: dict[str, Path], name: str) -> None:
    size = geometry(read_checkpoint(checkpoints[name]).config)
    cache = model_of(size).bfloat16().cache(rows=3, length=100)
    stored = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert stored == need(size, quantization="none", rows=3, length=100).cache


def test_the_codec_takes_as_many_bytes_as_counted() -> None:
    with torch.device("meta"):
        codec = HiggsAudioV2TokenizerModel(HiggsAudioV2TokenizerConfig(**CODEC_CONFIG))
    stored = sum(weight.nbytes for weight in codec.state_dict().values())
    assert stored == pytest.approx(memory.CODEC, rel=0.01)


def test_prompts_are_counted_as_they_are_read() -> None:
    assert memory.READ == decode.READ


@given(
    st.sampled_from([V3_4B, V2_3B]), st.sampled_from(sorted(BYTES)), st.integers(64, 8192), st.floats(1e9, 200e9)
)  # fmt: skip
def test_most_rows_fit_and_one_more_does_not(size: Geometry, quantization: str, length: int, space: float) -> None:
    rows = most_rows(size, quantization=quantization, length=length, memory=space)
    if rows:
        assert need(size, quantization=quantization, rows=rows, length=length).total <= space
    assert need(size, quantization=quantization, rows=rows + 1, length=length).total > space


@pytest.mark.parametrize("size", [V3_4B, V2_3B])
def test_what_is_quantised_needs_less_and_longer_rows_more(size: Geometry) -> None:
    totals = [need(size, quantization=how, rows=32, length=1280).total for how in ("none", "int8", "nf4")]
    assert totals == sorted(totals, reverse=True)
    longer = need(size, quantization="nf4", rows=32, length=2560)
    assert longer.cache == 2 * need(size, quantization="nf4", rows=32, length=1280).cache


def test_it_is_told_in_one_line() -> None:
    told = str(need(V3_4B, quantization="nf4", rows=64, length=1280))
    assert told == "17.7 GB of GPU memory (weights 2.7, cache 12.1, codec 0.8, work 2.1)"
