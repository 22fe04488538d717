"""What the model reads before it speaks: token ids, and the delayed codes of the reference clip between them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

CONTROL = ("<|tts|>", "<|ref_text|>", "<|ref_audio|>", "<|text|>", "<|audio|>")
PLACEHOLDER = -100  # stands for a row of audio codes
_CONTROL = re.compile(r"<\|")

Encode = Callable[[str], list[int]]  # text to token ids, without any of the tokenizer's own additions


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """Codes that begin and end a codebook's stream, and the ids of control tokens by name."""

    bos: int
    eos: int
    tokens: Mapping[str, int]

    def with_tokens(self, vocabulary: Mapping[str, int]) -> "Special":
        """With the control tokens of v3. ValueError where the tokenizer has none such."""
        if missing := [name for name in CONTROL if name not in vocabulary]:
            raise ValueError(f"tokenizer.json: found no {', '.join(missing)}, expected the control tokens of Higgs v3")
        return replace(self, tokens={name: vocabulary[name] for name in CONTROL})


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Token ids with PLACEHOLDER for each row of `codes`, int64 (rows, codebooks)."""

    ids: list[int]
    codes: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)


def plain(text: str) -> str:
    """Text that cannot give orders: a script's own `<|...|>` would be read as a control token."""
    return _CONTROL.sub("< |", text)


def v3(
    encode: Encode, special: Special, text: str, codes: torch.Tensor, transcript: str = "", tags: str = ""
) -> Prompt:
    """The prompt of Higgs v3: `<|tts|> [[<|ref_text|> transcript] <|ref_audio|> clip] <|text|> tags text <|audio|>`.

    `codes` (frames, codebooks) are the clip's; none: the model chooses a voice. There is no chat template.
    """
    rows = delayed(codes, special)
    token = special.tokens
    ids = [token["<|tts|>"]]
    if len(rows):
        if transcript:
            ids += [token["<|ref_text|>"], *encode(plain(transcript))]
        ids += [token["<|ref_audio|>"], *[PLACEHOLDER] * len(rows)]
    ids += [token["<|text|>"], *encode(tags + plain(text)), token["<|audio|>"]]
    return Prompt(ids, rows)


def v2(encode: Encode, special: Special, written: str, codes: torch.Tensor) -> Prompt:
    """The prompt of Higgs v2: a chat as its template writes it, with one audio token where the clip stands.

    The clip has a row of BOS before it and one of EOS after it; the last rows, of which some codebook has ended
    already, are marked by a token of their own.
    """
    ids = encode(written)
    if not len(codes):
        return Prompt(ids, codes)
    edges = [codes.new_full((1, codes.shape[1]), edge) for edge in (special.bos, special.eos)]
    rows = delayed(torch.cat([edges[0], codes, edges[1]]), special)
    late, audio, delay = codes.shape[1] - 1, special.tokens["audio"], special.tokens["delay"]
    at = ids.index(audio)
    marks = [audio] * (len(rows) - late) + [delay] * late
    return Prompt(ids[:at] + marks + ids[at + 1 :], rows)


def delayed(codes: torch.Tensor, special: Special) -> torch.Tensor:
    """Codes (frames, codebooks) with codebook c late by c rows: (frames + codebooks - 1, codebooks).

    Before its first code a codebook says BOS, after its last one EOS.
    """
    frames, books = codes.shape
    if not frames:
        return codes
    rows = codes.new_full((frames + books - 1, books), special.eos)
    for book in range(books):
        rows[:book, book] = special.bos
        rows[book : book + frames, book] = codes[:, book]
    return rows


def undelayed(rows: torch.Tensor) -> torch.Tensor:
    """The inverse: (rows, codebooks) to (rows - codebooks + 1, codebooks); no frames where there are too few rows."""
    frames = max(0, len(rows) - rows.shape[1] + 1)
    return torch.stack([rows[book : book + frames, book] for book in range(rows.shape[1])], dim=1)


def conversation(text: str, transcript: str, cloned: bool, scene: str) -> Sequence[dict[str, object]]:
    """The chat of Higgs v2: the system's order, the scene, the clip as if it had been spoken before, then the line."""
    turns: list[tuple[str, dict[str, str]]] = [
        ("system", {"type": "text", "text": "Generate audio following instruction."}),
        ("scene", {"type": "text", "text": plain(scene)}),
    ]
    if cloned:
        turns += [("user", {"type": "text", "text": plain(transcript)}), ("assistant", {"type": "audio"})]
    turns.append(("user", {"type": "text", "text": plain(text)}))
    return [{"role": role, "content": [content]} for role, content in turns]
