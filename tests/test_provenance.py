"""Content Credentials of finished files: what a C2PA reader finds, and that the bytes are always the same."""

import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import mutagen
import numpy as np
import pytest
import soundfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

import pipeline
from pipeline.audio.codec import Delivery, Encoder, decode
from pipeline.provenance import DEVELOPMENT, PURPOSES, SYNTHETIC, Certificate, Facts, sign

c2pa = pytest.importorskip("c2pa")

TAGS = {"title": "Frühstück", "artist": "Ada", "comment": "take 3", "dub_key": "0f"}
FACTS = Facts(title="Thé", language="fr-CA", engine="espeak", engine_version="1.52", track="0f" * 32, payload="00ff17")
DELIVERIES = [
    Delivery(format="flac"),
    Delivery(format="flac", rate=44100, bits=16, channels=2),
    Delivery(format="wav", bits=16),
    Delivery(format="wav", rate=22050, bits=24, channels=2),
    Delivery(format="wav", bits=32),
    Delivery(format="opus", bitrate=64),
    Delivery(format="mp3", bitrate=128),
    Delivery(format="mp3", rate=24000, channels=2),
    Delivery(format="m4a"),
    Delivery(format="m4a", rate=44100, channels=2),
]
MIMES = {".flac": "flac", ".wav": "wav", ".opus": "ogg", ".mp3": "mpeg", ".m4a": "mp4"}
every_delivery = pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda d: f"{d.format}-{d.rate}-{d.bits}")
every_mono = pytest.mark.parametrize("delivery", [d for d in DELIVERIES if d.channels == 1], ids=lambda d: d.format)
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
START, END = datetime(2026, 1, 1), datetime(2046, 1, 1)
DEVELOPED = Certificate.development()
ED, P256 = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
Key = Any


def usage(*which: str) -> x509.KeyUsage:
    fields = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    return x509.KeyUsage(**{f: f in which for f in f"{fields} crl_sign encipher_only decipher_only".split()})


def certificate(
    name: str, serial: int, key: Key, issuer: str, authority: Key, usages: list[ObjectIdentifier], end: datetime = END
) -> x509.Certificate:
    def full(name: str) -> x509.Name:
        own_names = {NameOID.ORGANIZATION_NAME: "Dubs", NameOID.COMMON_NAME: name}
        names = {NameOID.ORGANIZATION_NAME: name} if "DEVELOPMENT" in name else own_names
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])

    ca = name == issuer
    made = (
        x509.CertificateBuilder(full(issuer), full(name), key.public_key(), serial, START, end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(usage("key_cert_sign", "crl_sign") if ca else usage("digital_signature"), True)
    )
    if usages:
        made = made.add_extension(x509.ExtendedKeyUsage(usages), False)
    plain = isinstance(authority, ed25519.Ed25519PrivateKey)
    return made.sign(authority, None if plain else hashes.SHA256())


def pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def chain_of(key: Key, usages: list[ObjectIdentifier] | None = None, end: datetime = END) -> bytes:
    authority, above = ec.generate_private_key(ec.SECP256R1()), "Ada's authority"
    leaf = certificate("Ada's dubs", 2, key, above, authority, [EMAIL] if usages is None else usages, end)
    root = certificate(above, 1, authority, above, authority, [])
    return leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)


def own(key: Key, usages: list[ObjectIdentifier] | None = None) -> Certificate:
    return Certificate.read(chain_of(key, usages), pem(key), "own")


def samples_of(delivery: Delivery, seconds: float = 3.1) -> np.ndarray:
    samples = (0.2 * np.random.default_rng(5).standard_normal((round(delivery.rate * seconds), 2))).astype(np.float32)
    return samples if delivery.channels == 2 else samples[:, 0]


def made(folder: Path, delivery: Delivery, seconds: float = 3.1, tags: dict[str, str] = TAGS) -> Path:
    path = folder / f"fr{delivery.extension}"
    with Encoder(path, delivery, tags) as encoder:
        encoder.write(samples_of(delivery, seconds))
    return path


def found(path: Path, sidecar: Path | None) -> Any:
    """The reader's JSON."""
    trust = c2pa.Context.from_dict({"trust": {"trust_config": "\n".join(PURPOSES.values())}})
    with open(path, "rb") as file, trust:
        manifest = sidecar.read_bytes() if sidecar else None
        with c2pa.Reader(f"audio/{MIMES[path.suffix]}", file, manifest, context=trust) as reader:
            return json.loads(reader.json())


def assert_valid(path: Path, sidecar: Path | None) -> Any:
    report = found(path, sidecar)
    assert [fault["code"] for fault in report["validation_status"]] == ["signingCredential.untrusted"]
    assert report["validation_state"] == "Valid"
    return report["manifests"][report["active_manifest"]]


def tags_of(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """As PyAV reads them, and as mutagen does: to it the keys that MP4 has of ours are unknown."""
    with av.open(str(path)) as container:
        one = dict(container.metadata) | dict(container.streams.audio[0].metadata)
    file = mutagen.File(path)
    assert file.info.length > 0
    names = {"TIT2": "title", "TPE1": "artist", "description": "comment"}  # FFmpeg's name in Vorbis comments
    tags = [(key, value) for key, value in (file.tags or {}).items() if not key.startswith("GEOB")]
    two = {names.get(key, key.removeprefix("TXXX:")): str(getattr(value, "text", value)[0]) for key, value in tags}
    return one, two


@every_delivery
def test_a_signed_file_is_valid_and_says_what_it_is(delivery: Delivery, tmp_path: Path) -> None:
    path = made(tmp_path, delivery)
    before, whole = path.read_bytes(), decode(path, rate=delivery.rate, mono=False)[0]
    tags = tags_of(path)
    path.chmod(0o640)
    sidecar = sign(path, FACTS, DEVELOPED)
    assert sidecar == (tmp_path / "fr.opus.c2pa" if delivery.format == "opus" else None)
    assert sorted(tmp_path.iterdir()) == sorted([path, *([sidecar] if sidecar else [])])
    assert (path.read_bytes() == before) == (sidecar is not None)
    assert (sidecar or path).stat().st_mode & 0o777 == 0o640
    manifest = assert_valid(path, sidecar)
    assert manifest["title"] == "Thé"
    assert manifest["claim_generator_info"][0].items() >= {("name", "dubline"), ("version", pipeline.__version__)}
    assertions = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
    agent = {"name": "espeak", "version": "1.52"}
    action = {"action": "c2pa.created", "digitalSourceType": SYNTHETIC, "softwareAgent": agent}
    assert assertions["c2pa.actions.v2"]["actions"] == [action]
    binding = {"alg": "io.github.dubline.phase.1", "blocks": [{"scope": {}, "value": "00ff17"}]}
    assert assertions["c2pa.soft-binding"] == binding
    track = {"track": FACTS.track, "language": "fr-CA", "synthetic_voice": True}
    assert assertions["io.github.dubline.track"] == track
    assert manifest["signature_info"]["issuer"] == DEVELOPMENT
    assert (decode(path, rate=delivery.rate, mono=False)[0] == whole).all()
    assert tags_of(path) == tags
    assert tags[0]["title"] == "Frühstück"
    assert delivery.format in ("m4a", "wav") or tags[1] == TAGS


@every_mono
def test_a_changed_byte_of_sound_shows(delivery: Delivery, tmp_path: Path) -> None:
    path = made(tmp_path, delivery)
    sidecar = sign(path, FACTS, DEVELOPED)
    data = path.read_bytes()
    for place in (len(data) // 2, len(data) - 15000):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        report = found(path, sidecar)
        assert report["validation_state"] == "Invalid"
        faults = {fault["code"] for fault in report["validation_status"]}
        assert faults & {"assertion.dataHash.mismatch", "assertion.bmffHash.mismatch"}


@pytest.mark.parametrize("key", [None, P256], ids=["ed25519", "es256"])
@every_mono
def test_the_same_file_is_signed_with_the_same_bytes(delivery: Delivery, key: Key, tmp_path: Path) -> None:
    ours = own(key) if key else DEVELOPED
    results = set()
    for _ in range(2):
        path = made(tmp_path, delivery)
        sidecar = sign(path, FACTS, pickle.loads(pickle.dumps(ours)))
        results.add((path.read_bytes(), sidecar.read_bytes() if sidecar else None))
    assert len(results) == 1
    assert_valid(path, sidecar)


PROGRAM = """
import pathlib, re, sys
from pipeline.provenance import Certificate, Facts, sign
assert 'c2pa' not in sys.modules
import c2pa
peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])
facts, before = Facts(title='a', language='de', engine='b', engine_version='c', track='ab' * 32), peak()
sign(pathlib.Path(sys.argv[1]), facts, Certificate.development())
print(peak() - before)
"""


def grown_by_a_process_that_signs(path: Path) -> int:
    """KiB of memory at its peak; that of getrusage(2) begins with the parent's."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, capture_output=True, text=True)
    return int(run.stdout)


def test_two_processes_sign_with_the_same_bytes(tmp_path: Path) -> None:
    runs = set()
    for _ in range(2):
        path = made(tmp_path, Delivery(format="mp3"))
        grown_by_a_process_that_signs(path)
        runs.add(path.read_bytes())
    assert len(runs) == 1
    manifest = assert_valid(path, None)
    assert "c2pa.soft-binding" not in {assertion["label"] for assertion in manifest["assertions"]}


def test_another_file_and_another_track_have_another_manifest(tmp_path: Path) -> None:
    labels = set()
    for seconds, track in ((1.0, "ab"), (1.1, "ab"), (1.0, "cd")):
        path = made(tmp_path, Delivery(format="flac"), seconds)
        sign(path, dataclasses.replace(FACTS, track=track * 32), DEVELOPED)
        labels.add(found(path, None)["active_manifest"])
    assert len(labels) == 3


@pytest.mark.parametrize(("length", "frames"), [*enumerate([1, 2, 100, 30000, 32724, 40000, 65536, 70000])])
def test_wav_files_and_manifests_of_any_size(length: int, frames: int, tmp_path: Path) -> None:
    """A chunk of RIFF has an even length; a manifest need not have."""
    path = made(tmp_path, Delivery(format="wav", bits=16), frames / 48000)
    before, title = path.read_bytes(), "ü" + "x" * length
    sign(path, dataclasses.replace(FACTS, title=title), DEVELOPED)
    assert assert_valid(path, None)["title"] == title
    after = path.read_bytes()
    assert after[8 : len(before)] == before[8:]
    assert int.from_bytes(after[4:8], "little") == len(after) - 8
    assert len(after) % 2 == 0


@pytest.mark.parametrize("name", ["flac", "mp3", "m4a", "opus"])
@pytest.mark.parametrize("tags", [{}, {"title": "x" * 9000, "comment": "ü" * 100}], ids=["none", "many"])
def test_small_files_with_and_without_tags(name: str, tags: dict[str, str], tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format=name), 0.01, tags)
    whole = decode(path)[0]
    assert_valid(path, sign(path, FACTS, DEVELOPED))
    assert (decode(path)[0] == whole).all()


def test_rf64_has_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "fr.wav"
    soundfile.write(path, samples_of(Delivery(format="wav")), 48000, format="RF64", subtype="PCM_24")
    before = path.read_bytes()
    sidecar = sign(path, FACTS, DEVELOPED)
    assert sidecar == tmp_path / "fr.wav.c2pa"
    assert path.read_bytes() == before
    assert_valid(path, sidecar)
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert found(path, sidecar)["validation_state"] == "Invalid"


def test_m4a_whose_index_comes_last_has_a_sidecar(tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format="m4a"))
    data = path.read_bytes()
    at = data.index(b"mdat") - 4
    size = int.from_bytes(data[28:32])
    path.write_bytes(data[:28] + data[at:] + data[28 : 28 + size])  # its offsets are wrong, but nobody follows them
    assert_valid(path, sign(path, FACTS, DEVELOPED))


@pytest.mark.parametrize("name", ["flac", "wav", "mp3", "m4a"])
def test_a_file_is_signed_once(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format=name))
    sign(path, FACTS, DEVELOPED)
    once = path.read_bytes()
    with pytest.raises(ValueError, match=rf"fr\.{name}: found a manifest, expected a file that is not signed"):
        sign(path, FACTS, DEVELOPED)
    assert path.read_bytes() == once
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["wav", "m4a"])
@pytest.mark.parametrize("cut", [9, 45, 1000])
def test_a_damaged_file_is_refused(name: str, cut: int, tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format=name))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=rf"^fr\.{name}: found"):
        sign(path, FACTS, DEVELOPED)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["flac", "wav", "mp3", "m4a", "opus"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format=name))
    if name == "wav":
        with Encoder(path, Delivery(format="wav"), TAGS) as encoder:
            noise = samples_of(Delivery(format="wav"), 60.0)
            for _ in range(18):
                encoder.write(noise)
    else:
        grow(name, path)
    assert path.stat().st_size > 150e6
    assert grown_by_a_process_that_signs(path) < 60 * 1024
    assert_valid(path, path.with_name("fr.opus.c2pa") if name == "opus" else None)


def grow(name: str, path: Path) -> None:
    """Make a file of 160 MB: no decoder would like what is added, but it is none that signs."""
    with open(path, "rb+") as file:
        if name == "m4a":
            at = file.read().index(b"mdat") - 4
            file.seek(at)
            file.write((160_000_000 - at).to_bytes(4))
        file.truncate(160_000_000)


def test_the_development_certificate_says_what_it_is_and_never_changes() -> None:
    development = Certificate.development()
    assert development.is_development
    assert development.name == DEVELOPMENT == "dubline DEVELOPMENT certificate - proves nothing"
    assert Certificate.read(development.chain, development.key, "own") == development
    above = "dubline DEVELOPMENT authority"
    seeds = [hashlib.sha256(name.encode()).digest() for name in (above, DEVELOPMENT)]
    authority, key = map(ed25519.Ed25519PrivateKey.from_private_bytes, seeds)
    leaf = certificate(DEVELOPMENT, 2, key, above, authority, [EMAIL])
    root = certificate(above, 1, authority, above, authority, [])
    assert x509.load_pem_x509_certificates(development.chain) == [leaf, root]
    assert pem(key) == development.key


@pytest.mark.parametrize(
    ("make", "purpose"),
    [
        (lambda: P256, "1.3.6.1.5.5.7.3.4"),
        (lambda: P256, "1.3.6.1.5.5.7.3.36"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "1.3.6.1.4.1.62558.2.1"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "1.3.6.1.5.5.7.3.4"),
        (lambda: rsa.generate_private_key(65537, 2048), "1.3.6.1.5.5.7.3.36"),
        (lambda: ED, "1.3.6.1.4.1.62558.2.1"),
    ],
)
def test_own_certificates_sign(make: Callable[[], Key], purpose: str, tmp_path: Path) -> None:
    path = made(tmp_path, Delivery(format="flac"), 0.5)
    ours = own(make(), [ObjectIdentifier(purpose)])
    assert not ours.is_development
    assert ours.name == "Ada's dubs"
    assert repr(ours) == str(ours) == """Certificate("Ada's dubs")"""
    assert sign(path, FACTS, ours) is None
    assert assert_valid(path, None)["signature_info"]["issuer"] == "Dubs"


def test_rsa_signatures_are_all_that_differs(tmp_path: Path) -> None:
    ours = own(rsa.generate_private_key(65537, 2048))
    made_of = [sign(made(tmp_path, Delivery(format="opus"), 0.5), FACTS, ours).read_bytes() for _ in range(2)]
    one, two = (np.frombuffer(data, np.uint8) for data in made_of)
    differing = np.flatnonzero(one != two)
    assert len(differing) > 200
    assert differing[-1] - differing[0] < 256


UNKNOWN = {
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "RSAPrivateKey": rsa.generate_private_key(65537, 1024),
    "DSAPrivateKey": dsa.generate_private_key(1024),
}
PAST, SERVERS = datetime(2026, 1, 2), [ExtendedKeyUsageOID.SERVER_AUTH]
LOCKED = ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("chain", "key", "message"),
    [
        (b"", pem(ED), "found no certificate, expected PEM with the leaf first"),
        (b"rubbish", pem(ED), "found no certificate"),
        (pem(ED), pem(ED), "found no certificate"),
        (chain_of(ED), b"rubbish", "found no key, expected a private one in PEM"),
        (chain_of(ED), chain_of(ED), "found no key"),
        (chain_of(ED), pem(P256), "found the key of another certificate, expected that of the first one"),
        (chain_of(ED, end=PAST), pem(ED), "found a validity from 2026-01-01 to 2026-01-02, expected a present one"),
        (chain_of(ED, usages=[]), pem(ED), r"found a key for no use, expected one for {'emailProtection'"),
        (chain_of(ED, usages=SERVERS), pem(ED), "found a key for 1.3.6.1.5.5.7.3.1, expected one for"),
        (chain_of(ED), LOCKED, "found no key, expected a private one in PEM, without a password"),
        *((chain_of(key), pem(key), f"found a key {kind}, expected Ed25519") for kind, key in UNKNOWN.items()),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:30],
)
def test_certificates_that_cannot_sign_are_refused(chain: bytes, key: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Certificate.read(chain, key, "certs/a.pem")
    assert str(caught.value).startswith("certs/a.pem: found ")
    assert not any(line in str(caught.value) for line in key.decode().splitlines())
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("facts", [{"track": "ab"}, {"track": "xy" * 32}, {"payload": "0"}])
def test_facts_are_checked(facts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"64 hexadecimal digits|fromhex"):
        dataclasses.replace(FACTS, **facts)
