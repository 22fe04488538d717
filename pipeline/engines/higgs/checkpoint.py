"""What a checkpoint folder holds, read without torch and without its gigabytes."""

import functools
import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GENERATIONS = {"higgs_multimodal_qwen3": 3, "higgs_audio_v2": 2}  # by model_type
SMALL = ("config.json", "tokenizer.json", "chat_template.jinja", "higgs_audio_v2_tokenizer.json")  # hashed whole
BLOCKS, BLOCK = 1024, 4096  # of each tensor file: how many places are hashed, and bytes at each
HEADER = 100_000_000  # bytes that the header of a safetensors file may have, as its own library has it
HEAD_DIM = 128  # of both families, where a configuration leaves it out
DAMAGED = "is the download complete?"

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder with config.json, tokenizer.json and safetensors files."""

    folder: Path
    generation: int  # 2 or 3
    config: dict[str, Any]
    files: tuple[Path, ...]
    tensors: dict[str, tuple[str, Shape]]  # name -> dtype as safetensors spells it, shape
    digest: str  # SHA-256 of the small files, the headers, and places in the tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The sizes that memory depends on."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    books: int
    codes: int
    forwards: int = 1  # feed-forward blocks of a layer: v2 has one for text and one for audio


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """The checkpoint in a folder. ValueError with one sentence that says what is wrong with it.

    Of the weights only headers and places are read, so that 9 GB take a moment, and files that have not changed are
    read once in a process. A change that spares every place, such as one to a single norm, stays unseen.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: found no folder, expected a checkpoint of Higgs Audio")
    _config(folder)
    files = tensor_files(folder)
    facts = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in [*_small(folder), *files])
    return _read(folder, files, facts)


@functools.lru_cache(maxsize=8)
def _read(folder: Path, files: tuple[Path, ...], facts: tuple[Any, ...]) -> Checkpoint:
    config = _config(folder)
    hashed = hashlib.sha256()
    tensors: dict[str, tuple[str, Shape]] = {}
    for path in _small(folder):
        hashed.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    for path in files:
        found, start = _header(path)
        tensors |= found
        _hash_places(path, start, hashed)
    return Checkpoint(
        folder=folder, generation=GENERATIONS[config["model_type"]], config=config, files=files, tensors=tensors,
        digest=hashed.hexdigest(),
    )  # fmt: skip


def _config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder that looks like a checkpoint of Higgs Audio."""
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in GENERATIONS:
        raise ValueError(f"{folder}/config.json: found model_type {kind!r}, expected one of {', '.join(GENERATIONS)}")
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder}: found no tokenizer.json, expected the one that belongs to the checkpoint")
    return config


def _small(folder: Path) -> list[Path]:
    return [folder / name for name in SMALL if (folder / name).is_file()]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path.parent}: found no {path.name}, expected a checkpoint of Higgs Audio") from None
    except ValueError as error:
        raise ValueError(f"{path}: found {error}, expected JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found {type(found).__name__}, expected a mapping")
    return found


def tensor_files(folder: Path) -> tuple[Path, ...]:
    """The one file of weights, or those that the index names. ValueError where one is not there."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        placed = _json(index).get("weight_map")
        if not isinstance(placed, dict) or not placed or not all(isinstance(n, str) for n in placed.values()):
            raise ValueError(f"{index}: found no weight_map, expected tensors with the files that they are in")
        names = sorted(set(placed.values()))
    paths = tuple(folder / name for name in names)
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"{folder}: found no {missing[0]}{_others(missing)}, expected the weights; {DAMAGED}")
    return paths


def _header(path: Path) -> tuple[dict[str, tuple[str, Shape]], int]:
    """Dtypes and shapes in a safetensors file, and where its bytes begin: the header is its length, then JSON."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))[0]
        try:
            header = json.loads(file.read(length)) if length <= min(size - 8, HEADER) else {}
            entries = {name: header[name] for name in header if name != "__metadata__"}
            end = 8 + length + max(entry["data_offsets"][1] for entry in entries.values())
            found = {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
        except (ValueError, TypeError, LookupError):  # no JSON, or of another form, or no tensors
            raise ValueError(f"{path}: found no header in {size} bytes, expected safetensors; {DAMAGED}") from None
    if size < end:
        raise ValueError(f"{path}: found {size} bytes, expected {end}; {DAMAGED}")
    return found, 8 + length


def _hash_places(path: Path, start: int, hashed: Any) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        hashed.update(file.read(start))
        step = max(BLOCK, (size - start) // BLOCKS)
        for place in range(start, size, step):
            file.seek(place)
            hashed.update(file.read(BLOCK))


def geometry(config: Mapping[str, Any]) -> Geometry:
    """The sizes in a checkpoint's configuration. ValueError names a key that is not there."""
    dual = config["model_type"] == "higgs_audio_v2"
    text, audio = ("", "") if dual else ("text_config.", "audio_encoder_config.")

    def size(key: str, default: int | None = None) -> int:
        found: Any = config
        for part in key.split("."):
            found = found.get(part, default) if isinstance(found, Mapping) else None
        if not isinstance(found, int) or found < 1:
            raise ValueError(f"config.json: {key}: found {found!r}, expected a whole number over 0")
        return found

    return Geometry(
        hidden=size(f"{text}hidden_size"), layers=size(f"{text}num_hidden_layers"),
        heads=size(f"{text}num_attention_heads"), kv_heads=size(f"{text}num_key_value_heads"),
        head_dim=size(f"{text}head_dim", HEAD_DIM), ffn=size(f"{text}intermediate_size"),
        vocabulary=size(f"{text}vocab_size"), books=size(f"{audio}num_codebooks"),
        codes=size("codebook_size" if dual else f"{audio}vocab_size"), forwards=1 + dual,
    )  # fmt: skip


def compare(expected: Mapping[str, Shape], found: Mapping[str, Shape], elsewhere: Sequence[str], file: Path) -> None:
    """ValueError where `file` lacks what a model expects, or has more: it names a tensor, what was found and expected.

    Tensors that `expected` lacks are no fault where a pattern of `elsewhere` is found in their names.
    """
    misshapen = [name for name, shape in expected.items() if name in found and found[name] != shape]
    if misshapen:
        name = misshapen[0]
        told = f"{name} of shape {found[name]}{_others(misshapen)}"
        raise ValueError(f"{file}: found {told}, expected {expected[name]}")
    if missing := [name for name in expected if name not in found]:
        raise ValueError(
            f"{file}: found no {missing[0]}{_others(missing)}, expected it of shape {expected[missing[0]]}"
        )
    unknown = [n for n in found if n not in expected and not any(re.search(pattern, n) for pattern in elsewhere)]
    if unknown:
        raise ValueError(f"{file}: found {unknown[0]}{_others(unknown)}, expected no such tensor in this model")


def _others(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f" and {more} other{'s' * (more > 1)}" if more else ""
