"""Watermark keys: 32 secret bytes, from which everything pseudo-random is derived the same way on every machine."""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

VARIABLE = "DUBLINE_WATERMARK_KEY"  # one key or several, where no file is given
PREFIX = "dubmark1:"
SIZE = 32  # bytes of a key
_SALT = b"dubline watermark key 1"


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A watermark key. Its secret is never shown: not by repr, not by str, not by an error.

    Raises ValueError for other than 32 bytes.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes) or len(self.secret) != SIZE:
            found = len(self.secret) if isinstance(self.secret, bytes) else f"a {type(self.secret).__name__}"
            raise ValueError(f"a watermark key has {SIZE} bytes, this one has {found}")

    def __repr__(self) -> str:
        return f"Key({self.name[:4]}…)"

    @classmethod
    def new(cls) -> Self:
        """A key that nobody has had before, from the system's source of randomness."""
        return cls(os.urandom(SIZE))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key of its text form. Raises ValueError that names what is wrong with it, and shows none of it."""
        text = text.strip()
        if not text.startswith(PREFIX):
            raise ValueError(f"a watermark key begins with {PREFIX!r}, this one does not")
        body = text[len(PREFIX) :]
        if wrong := re.search(r"[^A-Za-z0-9_-]", body):
            raise ValueError(f"a watermark key is base64url text, character {len(PREFIX) + wrong.start() + 1} is not")
        if (size := len(body) * 6 // 8) != SIZE:
            raise ValueError(f"a watermark key has {SIZE} bytes, this one has {size}")
        key = cls(base64.urlsafe_b64decode(body + "="))
        if key.text() != text:
            raise ValueError("the last character of this watermark key is none that a key ends with")
        return key

    def text(self) -> str:
        """The text form, which holds the secret: ``dubmark1:`` and 43 characters of base64url (RFC 4648)."""
        return PREFIX + base64.urlsafe_b64encode(self.secret).decode().rstrip("=")

    @property
    def name(self) -> str:
        """16 hexadecimal digits that may be published and tell keys apart."""
        return self.derive("public name")[:8].hex()

    @property
    def id(self) -> int:
        """The first three digits of the name as a number: 12 bits."""
        return int(self.name[:3], 16)

    def derive(self, label: str) -> bytes:
        """Subkey of 32 bytes for one purpose (HKDF with SHA-256, RFC 5869)."""
        return HKDF(SHA256(), length=32, salt=_SALT, info=label.encode()).derive(self.secret)

    def stream(self, label: str, size: int) -> bytes:
        """The first ``size`` pseudo-random bytes of a label: AES-256 in counter mode from zero under its subkey."""
        encryptor = Cipher(algorithms.AES(self.derive(label)), modes.CTR(bytes(16))).encryptor()
        return encryptor.update(bytes(size)) + encryptor.finalize()

    def signs(self, label: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
        """Fair signs of this shape: a bit of the label's stream each, highest bit first, 0 for +1 and 1 for -1."""
        count = int(np.prod(shape, dtype=np.int64))
        octets = np.frombuffer(self.stream(label, -(-count // 8)), np.uint8)
        return (1 - 2 * np.unpackbits(octets, count=count).astype(np.int8)).reshape(shape)

    def permutations(self, label: str, count: int, n: int) -> NDArray[np.int64]:
        """Permutations of 0 to n - 1 (count, n): the order of n little-endian 64-bit words of the label's stream."""
        words = np.frombuffer(self.stream(label, 8 * count * n), "<u8").reshape(count, n)
        return np.argsort(words, axis=1, kind="stable").astype(np.int64)


def read_keys(source: str | Path | None, environ: Mapping[str, str] = os.environ) -> list[Key]:
    """The keys of a file, one a line (``#`` begins a comment), or else of the environment; the first one marks.

    In the environment, DUBLINE_WATERMARK_KEY holds one or several, separated by white space or commas; none
    where it holds nothing. Raises ValueError that names the place of what is wrong, and OSError of the file.
    """
    if source is None:
        texts = re.split(r"[\s,]+", environ.get(VARIABLE, ""))
        places = [(f"{VARIABLE}, key {number}", text) for number, text in enumerate(filter(None, texts), 1)]
    elif PREFIX in str(source):
        raise ValueError("found a key itself, expected the name of a file that holds it")
    else:
        lines = Path(source).read_text("utf-8-sig", errors="replace").splitlines()
        bare = [(f"{source}, line {number}", line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
        places = [(place, text) for place, text in bare if text]
        if not places:
            raise ValueError(f"{source} holds no watermark key, expected one a line")
    found: dict[Key, str] = {}
    for place, text in places:
        try:
            key = Key.parse(text)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if key in found:
            raise ValueError(f"{place}: key {key.name} is there already: {found[key]}")
        found[key] = place
    return list(found)


def write_key(path: str | Path, key: Key) -> None:
    """Writes a key file that only its owner can read. Raises FileExistsError rather than overwrite anything."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(key.text() + "\n")
