"""Utterances to chunks: cut at sentence and clause ends, never inside a word, number, tag or URL."""

import re

import sentencex

from pipeline.text.markup import speakable
from pipeline.text.pace import predict
from pipeline.text.script import CLAUSE, UNSPACED

BREATH = 10.0  # seconds that one chunk may take, as predicted
_WHOLE = re.compile(r"(?:https?://|www\.)\S+|\d[\d.,:/\s-]*\d|<[^<>]*>|\{[^{}]*\}", re.IGNORECASE)


def split(text: str, language: str, limit: float = BREATH) -> list[str]:
    """Pieces of at most `limit` predicted seconds, in order; a piece that offers no cut stays whole.

    Sentences are packed together as far as they fit; a longer sentence is cut at clause ends, a longer clause
    between words. Joining the pieces gives the text back, but for spaces at the cuts.
    """
    if predict(text, language) <= limit:
        return [text]
    protected = [match.span() for match in _WHOLE.finditer(text)]
    sentences = [bound["end_index"] for bound in sentencex.get_sentence_boundaries(language, text)]
    clauses = [match.end() for match in CLAUSE.finditer(text)]
    spaces = [match.end() for match in re.finditer(r"\s+", text)]
    levels = [[cut for cut in cuts if _allowed(cut, text, protected)] for cuts in (sentences, clauses, spaces)]
    return _speakable(_divide(text, 0, levels, language, limit))


def _speakable(parts: list[str]) -> list[str]:
    """Parts that hold only marks go with those before them: an engine has nothing to say for a dash."""
    found: list[str] = []
    for part in parts:
        if found and not (speakable(part) and speakable(found[-1])):
            found[-1] += part
        else:
            found.append(part)
    return [part.strip() for part in found]


def _allowed(cut: int, text: str, protected: list[tuple[int, int]]) -> bool:
    if not 0 < cut < len(text) or any(start < cut < end for start, end in protected):
        return False
    # Between two letters there is a word end only where the script shows none at all and punctuation stands.
    return not (text[cut - 1].isalnum() and text[cut].isalnum()) or bool(UNSPACED.match(text[cut - 1]))


def _divide(text: str, offset: int, levels: list[list[int]], language: str, limit: float) -> list[str]:
    """Cut at the first level, pack neighbours while they fit, and divide what is still too long at the next."""
    if not levels or predict(text, language) <= limit:
        return [text]
    cuts = [cut - offset for cut in levels[0] if 0 < cut - offset < len(text)]
    parts: list[tuple[int, str]] = []
    start = 0
    for cut in [*cuts, len(text)]:
        piece = text[start:cut]
        if parts and predict(parts[-1][1] + piece, language) <= limit:
            parts[-1] = (parts[-1][0], parts[-1][1] + piece)
        else:
            parts.append((start, piece))
        start = cut
    return [p for at, piece in parts for p in _divide(piece, offset + at, levels[1:], language, limit)]
