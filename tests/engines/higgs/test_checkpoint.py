"""Checkpoint folders: what is read without torch, and what is said of broken ones."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from tiny import SIZES

from pipeline.engines.higgs.checkpoint import BLOCK, BLOCKS, Geometry, compare, geometry, read_checkpoint

Edit = Callable[[Path], Any]


@pytest.fixture
def folder(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the v3 checkpoint, to spoil."""
    return Path(shutil.copytree(checkpoints["v3"], tmp_path / "v3"))


def rewrite(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def shard(folder: Path) -> None:
    """The weights in two files with an index, as large checkpoints come."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {name: f"model-{n % 2 + 1:05}-of-00002.safetensors" for n, name in enumerate(sorted(tensors))}
    for file in set(placed.values()):
        save_file({name: tensors[name] for name in tensors if placed[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


@pytest.mark.parametrize(("name", "generation"), [("v3", 3), ("v2", 2)])
def test_tensors_are_those_that_safetensors_sees(checkpoints: dict[str, Path], name: str, generation: int) -> None:
    found = read_checkpoint(checkpoints[name])
    with safe_open(checkpoints[name] / "model.safetensors", framework="pt") as file:
        seen = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - it is no mapping
        kinds = {key: file.get_slice(key).get_dtype() for key in seen}
    assert {key: shape for key, (_, shape) in found.tensors.items()} == seen
    assert {key: kind for key, (kind, _) in found.tensors.items()} == kinds
    assert (found.generation, found.folder, len(found.digest)) == (generation, checkpoints[name], 64)
    assert found.files == (checkpoints[name] / "model.safetensors",)


def test_shards_hold_the_same_tensors(folder: Path) -> None:
    whole = read_checkpoint(folder).tensors
    shard(folder)
    found = read_checkpoint(folder)
    assert found.tensors == whole
    assert [path.name[:11] for path in found.files] == ["model-00001", "model-00002"]


@pytest.mark.parametrize("name", ["v3", "v2"])
def test_geometry_is_that_of_the_configuration(checkpoints: dict[str, Path], name: str) -> None:
    assert geometry(read_checkpoint(checkpoints[name]).config) == Geometry(
        hidden=SIZES["hidden_size"], layers=SIZES["num_hidden_layers"], heads=SIZES["num_attention_heads"],
        kv_heads=SIZES["num_key_value_heads"], head_dim=SIZES["head_dim"], ffn=SIZES["intermediate_size"],
        vocabulary=SIZES["vocab_size"], books=8, codes=1026, forwards=2 if name == "v2" else 1,
    )  # fmt: skip


def test_geometry_without_a_size_of_heads_is_what_transformers_makes_of_it(checkpoints: dict[str, Path]) -> None:
    config = read_checkpoint(checkpoints["v3"]).config
    text = {key: value for key, value in config["text_config"].items() if key != "head_dim"}
    from transformers.models.qwen3 import Qwen3Config

    assert geometry(config | {"text_config": text}).head_dim == Qwen3Config().head_dim


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"text_config": {}}, "config.json: text_config.hidden_size: found None, expected a whole number over 0"),
        ({"audio_encoder_config": None}, "audio_encoder_config.num_codebooks: found None"),
    ],
)
def test_geometry_names_what_is_missing(checkpoints: dict[str, Path], keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        geometry(read_checkpoint(checkpoints["v3"]).config | keys)


def test_equal_folders_have_one_digest(checkpoints: dict[str, Path], folder: Path) -> None:
    assert read_checkpoint(folder).digest == read_checkpoint(checkpoints["v3"]).digest


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])
def test_another_byte_in_any_file_is_another_digest(checkpoints: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(checkpoints["v2"], tmp_path / "v2"))
    before = read_checkpoint(folder).digest
    data = bytearray((folder / name).read_bytes())
    data[-1:] = bytes([data[-1] ^ 1]) if name.endswith(("safetensors", "jinja")) else data[-1:] + b" "
    (folder / name).write_bytes(data)
    assert read_checkpoint(folder).digest != before


def test_large_weights_are_sampled_from_end_to_end(folder: Path) -> None:
    """64 MB in one tensor: noise anywhere over a thousandth of them is seen, and few of them are read."""
    path, size = folder / "model.safetensors", 64_000_000
    header = json.dumps({"big": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    before, digests = read_checkpoint(folder).digest, set()
    for start in (0, size // 3, size // 2, size - size // BLOCKS - BLOCK):
        with path.open("r+b") as file:
            file.seek(8 + len(header) + start)
            file.write(os.urandom(size // BLOCKS))
        digests.add(read_checkpoint(folder).digest)
    assert len(digests - {before}) == 4


def test_files_that_did_not_change_are_read_once(folder: Path) -> None:
    first = read_checkpoint(folder)
    assert read_checkpoint(str(folder)) is first
    os.utime(folder / "tokenizer.json")
    assert read_checkpoint(folder) is not first


def cut(path: Path, size: int) -> None:
    os.truncate(path, path.stat().st_size - size if size > 0 else -size)


BROKEN: dict[str, tuple[Edit, str]] = {
    "no folder": (shutil.rmtree, "v3: found no folder, expected a checkpoint"),
    "empty": (lambda f: [path.unlink() for path in f.iterdir()], "found no config.json, expected a checkpoint"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: found Expecting .*, expected JSON"),
    "no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json: found .*, expected JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "config.json: found list, expected a mapping"),
    "another model": (
        lambda f: rewrite(f / "config.json", model_type="qwen3"),
        "config.json: found model_type 'qwen3', expected one of higgs_multimodal_qwen3, higgs_audio_v2",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "found no tokenizer.json, expected the one that belo"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "found no model.safetensors, expected the weights; ",
    ),
    "one byte short": (lambda f: cut(f / "model.safetensors", 1), r"found \d+ bytes, expected \d+; is the download"),
    "nothing": (lambda f: cut(f / "model.safetensors", 0), "found no header in 0 bytes, expected safetensors"),
    "in the header": (lambda f: cut(f / "model.safetensors", -100), "found no header in 100 bytes"),
    "a pointer": (
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 9309834930\n"),
        "found no header in 59 bytes, expected safetensors",
    ),
    "no tensors": (
        lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}"),
        "found no header in 10 bytes",
    ),
    "no mapping": (
        lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 9) + b'["a","b"]'),
        "found no header in 17 bytes",
    ),
    "no offsets": (
        lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 8) + b'{"a":{}}'),
        "found no header in 16 bytes",
    ),
    "no shape": (
        lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 30) + b'{"a":{"data_offsets":[ 0, 0]}}'),
        "found no header in 38 bytes",
    ),
}


@pytest.mark.parametrize("spoil", BROKEN)
def test_broken_folders_are_told(folder: Path, spoil: str) -> None:
    edit, told = BROKEN[spoil]
    edit(folder)
    with pytest.raises(ValueError, match=told) as caught:
        read_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": ["a"]}'])
def test_an_index_without_files_is_told(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ValueError, match=r"index\.json: found no weight_map, expected tensors with the files"):
        read_checkpoint(folder)


def test_a_shard_that_is_missing_is_told(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"found no model-00002-of-00002.safetensors, expected the weights"):
        read_checkpoint(folder)


NAMES = [f"layers.{n}.weight" for n in range(4)]
SHAPES = dict.fromkeys(NAMES, (128, 64))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (SHAPES | {NAMES[1]: (96, 64)}, r"found layers.1.weight of shape \(96, 64\), expected \(128, 64\)$"),
        (dict.fromkeys(NAMES, (1, 2)), r"found layers.0.weight of shape \(1, 2\) and 3 others, expected \(128, 64\)$"),
        ({NAMES[0]: (128, 64)}, r"found no layers.1.weight and 2 others, expected it of shape \(128, 64\)$"),
        (SHAPES | {"extra": (1,), "odd": (2,)}, "found extra and 1 other, expected no such tensor in this model$"),
    ],
)
def test_tensors_that_do_not_fit_are_named(found: dict[str, tuple[int, ...]], told: str) -> None:
    with pytest.raises(ValueError, match="^file: " + told):
        compare(SHAPES, found, (), Path("file"))


def test_tensors_of_others_are_no_fault() -> None:
    compare(SHAPES, SHAPES | {"codec.a": (1,), "head": (2,)}, (r"^codec\.", "^head$"), Path("file"))


def test_no_part_of_planning_imports_torch() -> None:
    """Planning runs where there may be none."""
    names = "checkpoint, hub, memory, voices"
    code = f"import sys; from pipeline.engines.higgs import {names}; print('torch' in sys.modules)"
    code += "; print('transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
