"""How much GPU memory a replica needs, by arithmetic."""

from dataclasses import dataclass, fields

from pipeline.engines.higgs.checkpoint import Geometry

V3_4B = Geometry(
    hidden=2560, layers=36, heads=32, kv_heads=8, head_dim=128, ffn=9728, vocabulary=151936, books=8, codes=1026
)
V2_3B = Geometry(
    hidden=3072, layers=28, heads=24, kv_heads=8, head_dim=128, ffn=8192, vocabulary=128256, books=8, codes=1026,
    forwards=2,
)  # fmt: skip
# Bytes of a weight of a linear layer, scales included. int8 has a float32 scale for each row of 2,560 or more; nf4 has
# half a byte, one byte for the scale of 64 weights, and four bytes for the scale of 256 such scales.
BYTES = {"none": 2.0, "int8": 1 + 4 / 2560, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
CODEC = 200_300_000 * 4  # the real codec in float32
DECODED = 1_000_000_000  # work of the codec on 80 s: four times 24,000 x 80 samples of 32 channels in float32
CUDA = 500_000_000  # its context and libraries, before the first tensor
READ = 8192  # tokens of prompts that are read at once, as in decode.py
LOGIT = 64  # bytes of work for a logit: float32 and int64 of it, its place, its noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes."""

    weights: int
    cache: int
    codec: int
    work: int

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))

    def __str__(self) -> str:
        parts = ", ".join(f"{part.name} {getattr(self, part.name) / 1e9:.1f}" for part in fields(self))
        return f"{self.total / 1e9:.1f} GB of GPU memory ({parts})"


def need(model: Geometry, *, quantization: str, rows: int, length: int) -> Memory:
    """Of a replica with `rows` rows of `length` positions (prompt, clip and speech) each.

    weights: linear layers, quantised; embeddings and the head in bf16. Norms, under 0.01 %, are left out.
    cache: keys and values in bf16. codec: float32. work: CUDA, a batch of the codec, READ tokens that pass a layer
    (two hidden states; gate, up and their product, in bf16), logits, and what quantised layers unpack.
    """
    table = model.hidden * (model.vocabulary + model.books * model.codes * model.forwards)
    reading = READ * 2 * (2 * model.hidden + 3 * model.ffn)
    unpacked = {
        "none": 0,
        "int8": READ * model.ffn * 6,  # the products in int32, what comes of them in fp16
        "nf4": model.hidden * model.ffn * 2,  # one matrix in bf16
    }[quantization]
    return Memory(
        weights=round(model.layers * linears(model) * BYTES[quantization]) + table * 2,
        cache=rows * length * position(model),
        codec=CODEC,
        work=CUDA + DECODED + reading + unpacked + rows * model.books * model.codes * LOGIT,
    )


def linears(model: Geometry) -> int:
    """Weights of the linear layers of one layer: queries, keys, values, output, and gate, up, down."""
    attention = 2 * model.hidden * model.head_dim * (model.heads + model.kv_heads)
    return attention + 3 * model.hidden * model.ffn * model.forwards


def position(model: Geometry) -> int:
    """Bytes of keys and values of one position of one row, bf16."""
    return 2 * model.layers * model.kv_heads * model.head_dim * 2


def most_rows(model: Geometry, *, quantization: str, length: int, memory: float) -> int:
    """How many rows fit into so many bytes; 0 where not one does."""
    none, one = (need(model, quantization=quantization, rows=rows, length=length).total for rows in (0, 1))
    return max(0, int((memory - none) // (one - none)))
