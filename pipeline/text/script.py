"""Facts about writing systems that the text rooms share."""

import re

# Scripts that write without spaces between words: Thai, Lao, Khmer, Myanmar, Han, kana and their punctuation.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")
# Sentence terminators of all living scripts, with the closing marks that may follow one.
CLOSERS = r"[\"'”’»›」』）)\]】]*"
TERMINATED = re.compile(rf"[.!?…。！？｡．।॥؟۔။።៕։]{CLOSERS}(?:\s»)?\s*$")
ELLIPSIS = re.compile(rf"(?:…|\.\.\.?){CLOSERS}(?:\s»)?\s*$")
CLAUSE = re.compile(rf"(?:[,;:،؛፣፥၊](?=[\s\"'”’»])|[、，；：]|\s[—–-](?=\s)|—){CLOSERS}\s*")


def glue(left: str, right: str) -> str:
    """Join two pieces of text as their script does: with a space, or without one between unspaced scripts."""
    if not left or not right:
        return left or right
    bare = UNSPACED.match(left[-1]) and UNSPACED.match(right[0]) and not _thai(left[-1])
    return left + right if bare else f"{left} {right}"


def _thai(char: str) -> bool:
    """Thai, Lao, Khmer and Burmese part phrases by spaces, so that a line break is one."""
    return "\u0e00" <= char <= "\u17ff"
