"""Checkpoints in the real layouts: every tensor in its place, or an error that names it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CODEC, tiny_v2, tiny_v3

from pipeline.engines.higgs import load
from pipeline.engines.higgs.checkpoint import geometry, read_checkpoint
from pipeline.engines.higgs.memory import linears

CPU = torch.device("cpu")
UP = "body.layers.1.mlp.up_proj.weight"


@pytest.fixture
def changed(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of the v3 checkpoint whose tensors a function has changed."""

    def copy(change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
        folder = shutil.copytree(checkpoints["v3"], tmp_path / "changed")
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        return folder

    return copy


@pytest.mark.parametrize("generation", ["v3", "v2"])
def test_every_tensor_finds_its_place(generation: str, checkpoints: dict[str, Path]) -> None:
    checkpoint = read_checkpoint(checkpoints[generation])
    model = load.language_model(checkpoint, "none", CPU)
    expected = (tiny_v3() if generation == "v3" else tiny_v2()).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name].bfloat16()) for name, weight in model.state_dict().items())
    assert geometry(checkpoint.config).layers == 3


@pytest.mark.parametrize("generation", ["v3", "v2"])
def test_the_codec_comes_along(generation: str, checkpoints: dict[str, Path], codec_model: Any) -> None:
    folder = checkpoints["v2"] / "codec" if generation == "v2" else None
    codec = load.codec(read_checkpoint(checkpoints[generation]), folder, CPU)
    expected = codec_model.state_dict()
    assert (codec.sample_rate, codec.hop, codec.books) == (24000, 960, 8)
    assert all(torch.equal(weight, expected[name]) for name, weight in codec.model.state_dict().items())
    assert all(weight.dtype == torch.float32 for weight in codec.model.parameters())


def test_the_rotary_base_that_the_configuration_leaves_open_is_the_trained_one(checkpoints: dict[str, Path]) -> None:
    model = load.language_model(read_checkpoint(checkpoints["v3"]), "none", CPU)
    assert model.model.config.rope_parameters["rope_theta"] == 1e6
    assert torch.allclose(model.model.rotary_emb.inv_freq[1], torch.tensor(1e6) ** (-2 / 16))


@pytest.mark.parametrize(("mode", "kind"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
@pytest.mark.parametrize("generation", ["v3", "v2"])
def test_linear_layers_are_quantised_and_nothing_else_is(
    generation: str, mode: str, kind: str, checkpoints: dict[str, Path]
) -> None:
    checkpoint = read_checkpoint(checkpoints[generation])
    model = load.language_model(checkpoint, mode, CPU)
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    quantised = {name for name, module in linear.items() if type(module).__name__ == kind}
    assert set(linear) - quantised == ({"audio_lm_head"} if generation == "v2" else set())
    assert len(quantised) == 3 * (7 if generation == "v3" else 10)
    sizes = geometry(checkpoint.config)
    weights = sum(linear[name].weight.numel() * linear[name].weight.element_size() for name in quantised)
    assert weights == pytest.approx(3 * linears(sizes) * (0.5 if mode == "nf4" else 1))


def test_a_missing_tensor_is_named(changed: Callable[..., Path]) -> None:
    folder = changed(lambda tensors: tensors.pop(UP))
    with pytest.raises(ValueError, match=rf"found no {UP}, expected it of shape \(128, 64\)"):
        load.language_model(read_checkpoint(folder), "none", CPU)


def test_a_misshapen_tensor_is_named(changed: Callable[..., Path]) -> None:
    folder = changed(lambda tensors: tensors.update({UP: torch.zeros(96, 64)}))
    with pytest.raises(ValueError, match=rf"found {UP} of shape \(96, 64\), expected \(128, 64\)"):
        load.language_model(read_checkpoint(folder), "none", CPU)


def test_an_unknown_tensor_is_named(changed: Callable[..., Path]) -> None:
    folder = changed(lambda tensors: tensors.update({"body.extra.weight": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"found body\.extra\.weight, expected no such tensor"):
        load.language_model(read_checkpoint(folder), "none", CPU)


def test_a_missing_tensor_of_the_codec_is_named(changed: Callable[..., Path]) -> None:
    folder = changed(lambda tensors: tensors.pop(CODEC + "fc2.weight"))
    with pytest.raises(ValueError, match=rf"found no {CODEC}fc2\.weight"):
        load.codec(read_checkpoint(folder), None, CPU)


def test_shards_are_read_by_their_index(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["v3"], tmp_path / "shards")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, index = sorted(tensors), {}
    for part, some in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in some}, folder / f"part{part}.safetensors")
        index |= dict.fromkeys(some, f"part{part}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    model = load.language_model(read_checkpoint(folder), "none", CPU)
    assert torch.equal(model.audio.weight, tiny_v3().audio.weight.bfloat16())
    assert load.codec(read_checkpoint(folder), None, CPU).books == 8
    (folder / "part1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"found no part1\.safetensors, expected the weights"):
        read_checkpoint(folder)
