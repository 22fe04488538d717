"""Content Credentials (C2PA 2.2): a signed manifest in or beside a finished file, the same bytes each time.

The c2pa library holds a file in memory several times over and salts its assertions at random. So it only signs a
stand-in, at most the file's head; salts, the hash of the content and the signature are then replaced in its manifest,
lengths unchanged. What is replaced was computed here as the library does it, and must be found exactly once.
"""

import base64
import functools
import hashlib
import io
import os
import shutil
import ssl
import struct
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from pipeline import __version__

SIDECAR = ".c2pa"  # after the whole name, so that fr.wav and fr.opus have one each
TRACK, WATERMARK = "io.github.dubline.track", "io.github.dubline.phase.1"
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
DEVELOPMENT = "dubline DEVELOPMENT certificate - proves nothing"
CHAIN = (  # of that name: X.509 in DER, just as tests/test_provenance.py makes it
    "MIIBhzCCATmgAwIBAgIBAjAFBgMrZXAwKDEmMCQGA1UECgwdZHVibGluZSBERVZFTE9QTUVOVCBhdXRob3JpdHkwHhcNMjYwMTAxMDAwMDAwWhcNND"
    "YwMTAxMDAwMDAwWjA7MTkwNwYDVQQKDDBkdWJsaW5lIERFVkVMT1BNRU5UIGNlcnRpZmljYXRlIC0gcHJvdmVzIG5vdGhpbmcwKjAFBgMrZXADIQCp"
    "SobOK2AkB/N9Mh2P063/UzcieQ0idIvB4qTbiX7HCqN1MHMwHwYDVR0jBBgwFoAUGvIPbbp2vWUwxYzwgFRUQGS/f9gwHQYDVR0OBBYEFCy4IU/5nn"
    "ZnB+sc4+YJdgZSaaghMAwGA1UdEwEB/wQCMAAwDgYDVR0PAQH/BAQDAgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMEMAUGAytlcANBAK9ywLmyDaeAJrRq"
    "jK0JCM2TyRkiJylJzt5/md5Vf0lFaCsNu47MP60KEnjTp/Gl0+gzIj4eaiSpdAn+SrwXhQc=",
    "MIIBYjCCARSgAwIBAgIBATAFBgMrZXAwKDEmMCQGA1UECgwdZHVibGluZSBERVZFTE9QTUVOVCBhdXRob3JpdHkwHhcNMjYwMTAxMDAwMDAwWhcNND"
    "YwMTAxMDAwMDAwWjAoMSYwJAYDVQQKDB1kdWJsaW5lIERFVkVMT1BNRU5UIGF1dGhvcml0eTAqMAUGAytlcAMhAD6Nsaq67N5A6LWc0FuFszjm9USB"
    "1HaLg8EdR5b0BL1/o2MwYTAfBgNVHSMEGDAWgBQa8g9tuna9ZTDFjPCAVFRAZL9/2DAdBgNVHQ4EFgQUGvIPbbp2vWUwxYzwgFRUQGS/f9gwDwYDVR"
    "0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwBQYDK2VwA0EA8/U2kGycrYv6megQdUTNOmGkxci11mp7cqG48RHBMXS8nVBTrh10lycEwoW8vvQw"
    "20kJAkERJQoMvZHvigfyBg==",
)
PURPOSES = {  # of a leaf's key, as C2PA 2.2 section 14.5.1 and c2pa-rs have them
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "documentSigning": "1.3.6.1.5.5.7.3.36",
    "c2pa-kp-claimSigning": "1.3.6.1.4.1.62558.2.1",
}
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

BLOCK = 1 << 20  # bytes
HEAD = 4096  # bytes in the stand-in of a FLAC or MP3 file, behind its ID3 tag
LARGEST = 0xFFFF0000  # bytes: sizes and offsets of RIFF and MP4 have 32 bits, and grow with the manifest
SILENCE = 1 << 17  # bytes, at most, in the stand-in of a WAV file: offsets have 32 bits in CBOR from 65536 on
DETACHED, MP4 = "application/octet-stream", "audio/mp4"
ID3 = {".flac": "audio/flac", ".mp3": "audio/mpeg"}  # the manifest lies in a frame of an ID3v2 tag
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the MP4 box that holds a manifest
UNHASHED = (b"ftyp", b"uuid", b"free", b"skip", b"mfra")  # the exclusions that c2pa.hash.bmff.v3 names
Swap = tuple[bytes, bytes]  # what stands there once, and what shall


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the manifest says of a track. ValueError for an id or a payload that is not hexadecimal."""

    title: str
    language: str
    engine: str
    engine_version: str
    track: str  # the track's digest, 64 hexadecimal digits
    payload: str = ""  # of the watermark, hexadecimal; empty where there is none

    def __post_init__(self) -> None:
        if len(bytes.fromhex(self.track)) != 32:
            raise ValueError(f"track: found {self.track!r}, expected 64 hexadecimal digits")
        bytes.fromhex(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Certificate:
    """A certificate chain and its key, both PEM. The key is never shown: not by repr, not by str, not by an error.

    Signatures of Ed25519 and, by RFC 6979, of ECDSA depend on nothing but what is signed. Those of RSA (PS256) are
    random by nature: with them the bytes of the signature, and nothing else, differ from run to run.
    """

    chain: bytes  # the leaf first
    key: bytes

    def __repr__(self) -> str:
        return f"Certificate({self.name!r})"

    @classmethod
    def development(cls) -> Self:
        """A fixed chain whose key everybody can derive: for tests, and as a stopgap whose name says so."""
        chain = "".join(ssl.DER_cert_to_PEM_cert(base64.b64decode(text)) for text in CHAIN)
        key = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(DEVELOPMENT.encode()).digest())
        return cls(chain=chain.encode(), key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @classmethod
    def read(cls, chain: bytes, key: bytes, place: str) -> Self:
        """Checked PEM files. ValueError begins with their place and says what was found and what was expected."""
        try:
            leaf = x509.load_pem_x509_certificates(chain)[0]
            public, extensions = leaf.public_key(), list(leaf.extensions)
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
            raise ValueError(f"{place}: found no certificate, expected PEM with the leaf first") from None
        try:
            private = load_pem_private_key(key, None)
        except (TypeError, ValueError, UnsupportedAlgorithm):  # whose text might show what was read
            raise ValueError(f"{place}: found no key, expected a private one in PEM, without a password") from None
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        kind = private.curve.name if isinstance(private, ec.EllipticCurvePrivateKey) else type(private).__name__
        extended = [extension.value for extension in extensions if isinstance(extension.value, x509.ExtendedKeyUsage)]
        uses = [use.dotted_string for value in extended for use in value]
        for right, found, expected in (
            (begin <= datetime.now(UTC) <= end, f"a validity from {begin.date()} to {end.date()}", "a present one"),
            (_algorithm(private), f"a key {kind}", "Ed25519, P-256, P-384, P-521, or RSA from 2048 bits"),
            (public == private.public_key(), "the key of another certificate", "that of the first one"),
            ({*uses} & {*PURPOSES.values()}, f"a key for {', '.join(uses) or 'no use'}", f"one for {PURPOSES}"),
        ):
            if not right:
                raise ValueError(f"{place}: found {found}, expected {expected}")
        return cls(chain=chain, key=key)

    @property
    def name(self) -> str:
        """The common name of the leaf's subject, or its organisation."""
        subject = x509.load_pem_x509_certificates(self.chain)[0].subject
        kinds = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
        names = [str(name.value) for kind in kinds for name in subject.get_attributes_for_oid(kind)]
        return names[0] if names else subject.rfc4514_string()

    @property
    def is_development(self) -> bool:
        return self.chain == self.development().chain


def sign(path: Path, facts: Facts, certificate: Certificate) -> Path | None:
    """Sign a finished file in its place, atomically; the path of the sidecar where the format takes no manifest.

    The manifest is embedded in FLAC, MP3, WAV and M4A. Ogg takes none, nor does the c2pa library know RF64, nor is
    there room in a WAV or M4A file near 4 GiB: these stay as they are, and `<file name>.c2pa` appears beside them.
    The same file, facts and certificate give the same bytes (but see Certificate on RSA). There is no time stamp, which
    would differ each time: a manifest holds as long as its certificate. Memory does not grow with the file, but for
    the index of an M4A file. ValueError for a file that is signed already, a WAV or M4A file that is cut off, and where
    the library refuses file or certificate; OSError as reading and writing raise it.
    """
    with open(path, "rb") as source:
        size = source.seek(0, os.SEEK_END)
        content = _hashed(source, [(b"", 0, size)])
        try:
            shape = _shape(path.suffix, source, size)
            signed = _signed(shape, _definition(facts, content), certificate)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
        sidecar = path.with_name(path.name + SIDECAR) if shape.mime == DETACHED else None
        with _replacing(sidecar or path, like=path) as target:
            detached = [(hashlib.sha256(shape.stand_in).digest(), content)]
            swaps = detached if sidecar else _embed(source, target, shape, signed)
            target.write(_rewritten(signed, swaps, facts.track, certificate))
        return sidecar


def _definition(facts: Facts, content: bytes) -> dict[str, Any]:
    """As c2pa.Builder takes it. The ids are UUIDs in the form of version 4, drawn from the track and the file."""

    def drawn(what: str) -> uuid.UUID:
        return uuid.UUID(bytes=hashlib.sha256(f"{what} {facts.track} ".encode() + content).digest()[:16], version=4)

    engine = {"name": facts.engine, "version": facts.engine_version}
    action = {"action": "c2pa.created", "digitalSourceType": SYNTHETIC, "softwareAgent": engine}
    assertions: dict[str, dict[str, Any]] = {
        "c2pa.actions.v2": {"actions": [action]},
        TRACK: {"track": facts.track, "language": facts.language, "synthetic_voice": True},
    }
    if facts.payload:
        assertions["c2pa.soft-binding"] = {"alg": WATERMARK, "blocks": [{"scope": {}, "value": facts.payload}]}
    return {
        "claim_generator_info": [{"name": "dubline", "version": __version__}],
        "title": facts.title,
        "label": f"urn:c2pa:{drawn('manifest')}",
        "instance_id": f"xmp:iid:{drawn('instance')}",
        "assertions": [{"label": label, "data": data, "created": True} for label, data in assertions.items()],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A stand-in, and how its signed form becomes the file's: without its last `cut` bytes, then the file from `at`.

    `lead` bytes before the manifest are excluded from the hash together with it: the header of a RIFF chunk.
    """

    mime: str = DETACHED
    stand_in: bytes = b"dubline"
    cut: int = 0
    at: int = 0
    lead: int = 0


def _shape(suffix: str, source: IO[bytes], size: int) -> _Shape:
    start, manifest, shape = _read(source, 0, 12), False, _Shape()
    if suffix in ID3:
        # An ID3v2 tag has its size, without its header, in four times seven bits: ID3v2.4 section 3.1.
        tag = 10 + functools.reduce(lambda n, byte: n << 7 | byte & 127, start[6:10], 0) if start[:3] == b"ID3" else 0
        head = _read(source, 0, tag + HEAD)
        manifest = b"application/c2pa\0" in head[:tag]
        shape = _Shape(mime=ID3[suffix], stand_in=head, at=len(head))
    elif suffix == ".wav" and start[:4] == b"RIFF" and size < LARGEST:
        if start[8:] != b"WAVE" or size < 44 or int.from_bytes(start[4:8], "little") != size - 8 or size % 2:
            raise ValueError("found another form or size of RIFF, expected a whole WAV file")
        manifest = any(kind == b"C2PA" for kind, _, _ in _boxes(source, 12, size, "<4sI"))
        small = min(size, SILENCE)
        silence = struct.pack("<4sI8sI", b"RIFF", small - 8, b"WAVEdata", small - 20).ljust(small, b"\0")
        shape = _Shape(mime="audio/wav", stand_in=silence, at=8, lead=8)
    elif suffix == ".m4a" and size < LARGEST:
        boxes = list(_boxes(source, 0, size, ">I4s"))
        manifest = any(kind == b"uuid" and _read(source, begin + 8, 16) == UUID for kind, begin, _ in boxes)
        kinds = [kind for kind, _, _ in boxes]
        if b"moov" in kinds and kinds.count(b"mdat") == 1 and kinds[-1] == b"mdat":  # as our encoder writes it
            head = _read(source, 0, boxes[-1][1]) + b"\0\0\0\x08mdat"
            shape = _Shape(mime=MP4, stand_in=head, cut=8, at=len(head) - 8)
    if manifest:
        raise ValueError("found a manifest, expected a file that is not signed yet")
    return shape


@dataclass(frozen=True, slots=True)
class _Signed:
    """What the library made of a stand-in. The message is what was signed: the claim, in a COSE Sig_structure."""

    output: bytes
    manifest: bytes
    message: bytes
    signature: bytes


def _signed(shape: _Shape, definition: dict[str, Any], certificate: Certificate) -> _Signed:
    import c2pa  # not above: its native library takes its time, and a plan signs nothing

    made: list[tuple[bytes, bytes]] = []
    key = load_pem_private_key(certificate.key, None)

    def call(message: bytes) -> bytes:
        made.append((message, _signature(key, message)))
        return made[-1][1]

    output = io.BytesIO()
    try:  # the library signs for any purpose, but then believes none but the first unless it is told to
        with (
            c2pa.Context.from_dict({"trust": {"trust_config": "\n".join(PURPOSES.values())}}) as context,
            c2pa.Builder(definition, context) as builder,
            c2pa.Signer.from_callback(call, c2pa.C2paSigningAlg[_algorithm(key)], certificate.chain.decode()) as signer,
        ):
            if shape.mime == DETACHED:
                builder.set_no_embed()
            manifest = bytes(builder.sign(signer, shape.mime, io.BytesIO(shape.stand_in), output))
    except c2pa.C2paError as error:
        raise ValueError(f"cannot be signed: {error}") from error
    return _Signed(output.getvalue(), manifest, *made[-1])


def _embed(source: IO[bytes], target: IO[bytes], shape: _Shape, signed: _Signed) -> list[Swap]:
    """Write the signed file and go to its manifest; what must be replaced there, now that the rest has its hash."""
    front, back = signed.output[: len(signed.output) - shape.cut], b""
    if shape.lead:  # a chunk at the end, counted in the size at the beginning
        back = signed.output[len(shape.stand_in) :]
        front = b"RIFF" + (source.seek(0, os.SEEK_END) - 8 + len(back)).to_bytes(4, "little")
    target.write(front)
    source.seek(shape.at)
    shutil.copyfileobj(source, target, BLOCK)
    target.write(back)
    old = signed.output.index(signed.manifest)
    new = target.tell() - (len(signed.output) - old) if back else old
    swaps = [(_bound(shape, io.BytesIO(signed.output), old, signed), _bound(shape, target, new, signed))]
    if old != new:  # where the excluded part begins, in CBOR: a number of 32 bits
        swaps.append((b"estart\x1a" + (old - shape.lead).to_bytes(4), b"estart\x1a" + (new - shape.lead).to_bytes(4)))
    target.seek(new)
    return swaps


@contextmanager
def _replacing(path: Path, like: Path) -> Iterator[IO[bytes]]:
    """A file that takes a path's place once all is written, with the permissions of another."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
        try:
            yield file
            file.flush()
            shutil.copymode(like, file.name)
            os.replace(file.name, path)
        finally:
            Path(file.name).unlink(missing_ok=True)


def _bound(shape: _Shape, file: IO[bytes], place: int, signed: _Signed) -> bytes:
    """The hash that binds the manifest at a place to the file around it: C2PA 2.2, sections 9.2 and A.5."""
    size = file.seek(0, os.SEEK_END)
    if shape.mime == MP4:  # each box behind its offset in 64 bits
        boxes = list(_boxes(file, 0, size, ">I4s"))
        return _hashed(file, [(begin.to_bytes(8), begin, end) for kind, begin, end in boxes if kind not in UNHASHED])
    return _hashed(file, [(b"", 0, place - shape.lead), (b"", place + len(signed.manifest), size)])


def _rewritten(signed: _Signed, swaps: list[Swap], track: str, certificate: Certificate) -> bytes:
    """The manifest with its binding swapped and with salts that depend on the track, signed again.

    Salts keep a redacted assertion from being guessed; none of these is redacted, so that they need not be random.
    """
    manifest, message = signed.manifest, signed.message
    for label, start, content, end in list(_assertions(manifest, 0, len(manifest))):
        old, described, held = manifest[start:end], manifest[start:content], manifest[content:end]
        if described[-20:-16] == b"c2sh":
            described = described[:-16] + hashlib.sha256(f"{track} {label}".encode()).digest()[:16]
        if label.startswith("c2pa.hash."):
            held = functools.reduce(_swapped, swaps, held)
        manifest = _swapped(manifest, (old, described + held))
        swap = hashlib.sha256(old).digest(), hashlib.sha256(described + held).digest()
        manifest, message = _swapped(manifest, swap), _swapped(message, swap)
    return _swapped(manifest, (signed.signature, _signature(load_pem_private_key(certificate.key, None), message)))


def _assertions(data: bytes, start: int, end: int, inside: str = "") -> Iterator[tuple[str, int, int, int]]:
    """Label, start, content's start and end of each assertion as the claim hashes it, in JUMBF (ISO/IEC 19566-5)."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if kind == b"jumb":
            content = start + 8 + int.from_bytes(data[start + 8 : start + 12], "big")
            label = data[start + 33 : data.index(0, start + 33)].decode()
            if inside == "c2pa.assertions":
                yield label, start + 8, content, start + size
            yield from _assertions(data, content, start + size, label)
        start += size


def _boxes(file: IO[bytes], start: int, size: int, header: str) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each box of MP4 (">I4s") or chunk of RIFF ("<4sI"). ValueError for one that is cut."""
    while start < size:
        head = _read(file, start, 16).ljust(16, b"\0")
        one, two = struct.unpack_from(header, head)
        kind, length = (two, one) if header[0] == ">" else (one, 8 + two + two % 2)
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if length < 8 or start + length > size:
            raise ValueError(f"found a box of {length} bytes at {start}, expected 8 to {size - start}")
        yield kind, start, start + length
        start += length


def _read(file: IO[bytes], start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _hashed(file: IO[bytes], pieces: list[tuple[bytes, int, int]]) -> bytes:
    """SHA-256 of pieces: some bytes, then the file from one offset to another."""
    digest = hashlib.sha256()
    for before, start, end in pieces:
        digest.update(before)
        file.seek(start)
        while start < end and (block := file.read(min(BLOCK, end - start))):
            digest.update(block)
            start += len(block)
    return digest.digest()


def _swapped(data: bytes, swap: Swap) -> bytes:
    """RuntimeError unless what is there is there once."""
    old, new = swap
    if data.count(old) != 1 or len(new) != len(old):
        raise RuntimeError("the manifest that the c2pa library wrote has not the form known here; is its version new?")
    return data.replace(old, new)


def _algorithm(key: PrivateKeyTypes) -> str:
    """As COSE and the library name it; empty for a key that C2PA has no use for."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ED25519"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return CURVES.get(key.curve.name, "")
    return "PS256" if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048 else ""


def _signature(key: PrivateKeyTypes, message: bytes) -> bytes:
    """As COSE wants it (RFC 9053): of ECDSA both numbers in full width, of RSA by PSS."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512()}[_algorithm(key)]
        numbers = decode_dss_signature(key.sign(message, ec.ECDSA(digest, deterministic_signing=True)))
        return b"".join(n.to_bytes((key.key_size + 7) // 8, "big") for n in numbers)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.sign(message)
