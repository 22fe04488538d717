"""TTML and DFXP. Read as a stream of elements, so that what stands before and after damage is kept."""

import html
import re
from xml.sax.saxutils import escape

from pipeline.model import InputError, Problem
from pipeline.readers.draft import Draft, quoted
from pipeline.readers.ttml_stream import EXPECTED, Stream

_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)(?:(\w{2,31});)?")
_ELEMENT = re.compile(r"<(?:[\w-]+:)?p\b|<(/?)(?:[\w-]+:)?(?:body|div)\b[^<>]*>")
_P_END = re.compile(r"</(?:[\w-]+:)?p\s*>")
# An end where that of a <div> should be: followed by the tag of another, or of the <body>.
_MISSPELT = re.compile(r"</(?!(?:[\w-]+:)?(?:p|span|div|body|tt)\b)[^<>]*>\s*</?(?:[\w-]+:)?(?:div|body)\b")
_P_EMPTY = re.compile(r"<[^<>]*/>")


def read(text: str, draft: Draft) -> None:
    """Read a TTML document. After damage, an error at its line, every <p> that is whole is still read.

    Raises InputError for a file that is no XML, and for one that declares a document type: TTML has none,
    and entities can be made to fill the memory.
    """
    if "<![CDATA[" not in text:
        text = _AMPERSAND.sub(_reference, text)
    blank = len(text) - len(text.lstrip())  # allowed nowhere else before an XML declaration
    stream = Stream(draft)
    damage = stream.parse(text[blank:], text.count("\n", 0, blank))
    if damage is None:
        return
    message, place, offset = damage
    draft.error(place, f"damaged XML ({message})", "well-formed XML")
    _recover(text[blank + offset :], place - 1, message, stream, draft)
    if not stream.elements:
        raise InputError(Problem(file=draft.name, line=place, found=f"not XML ({message})", expected="TTML"))


def _recover(rest: str, line: int, message: str, stream: Stream, draft: Draft) -> None:
    """Read each whole <p> of what follows damage. ``line`` lines stand before it."""
    rest = _uncommented(rest)
    if not stream.drop_paragraph() and message == "mismatched tag" and _MISSPELT.match(rest):
        stream.leave()
    tags = list(_ELEMENT.finditer(rest))
    done = 0
    for n, tag in enumerate(tags):
        line += rest.count("\n", done, tag.start())
        done = tag.start()
        if tag[1] == "/":
            stream.leave()
        elif tag[1] is not None:
            stream.parse(tag[0], line)  # stays open, as its end is not in this piece
        else:
            piece = rest[done : tags[n + 1].start() if n + 1 < len(tags) else len(rest)]
            end = _P_END.search(piece) or _P_EMPTY.match(piece)
            if end is None or stream.parse(piece[: end.end()], line):
                draft.error(line + 1, quoted(piece), f"{EXPECTED}text</p>")
                stream.drop_paragraph()


def _uncommented(text: str) -> str:
    """Text with its comments reduced to their line breaks."""
    head, *rest = text.split("<!--")
    kept = [head]
    for part in rest:
        comment, end, tail = part.partition("-->")
        kept.append("\n" * comment.count("\n") + tail if end else part)
    return "".join(kept)


def _reference(found: re.Match[str]) -> str:
    """XML for an ampersand that is none: an entity of HTML by its name, or itself."""
    text = html.unescape(found[0])
    return " " if text == "\xa0" else escape(text)
