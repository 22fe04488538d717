"""`dub blocklist`: the list of voices that must not be cloned."""

import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.audio.codec import decode
from pipeline.guard import guarded
from pipeline.inputs import change_file, file_bytes, signing_key, trusted_key, write_new
from pipeline.parse import ConfigError
from pipeline.safety import blocklist as lists
from pipeline.safety.blocklist import Blocklist, BlocklistError, calibrate, read_calibration, read_draft
from pipeline.store import canonical, pretty
from pipeline.voices.encoder import EMBEDDED, SpeakerEncoder, Vector, centre, open_encoder

blocklist = typer.Typer(no_args_is_help=True, help="Make, sign and check the list of voices that must not be cloned.")

Folder = Annotated[str, typer.Argument(metavar="FOLDER", help="A folder with a folder of recordings for each person.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="resemblyzer, or wavlm: and a folder or model of the hub.")]
Issuers = Annotated[list[str], typer.Option("--issuer", help="A public key that is trusted. Again for each.")]


@blocklist.command("calibrate")
@guarded
def calibrate_command(
    folder: Folder,
    calibration: Annotated[str, typer.Argument(metavar="CALIBRATION", help="Where to write it; must not exist.")],
    rate: Annotated[float, typer.Option(help="False matches for each voice and person compared.")] = 0.001,
    encoder: EncoderName = EMBEDDED,
) -> int:
    """Measure an encoder's thresholds on recordings of many speakers, none of whom need be on the list."""
    if not 0 < rate < 0.5:
        raise ConfigError(f"--rate: found {rate}, expected a share between 0 and 0.5, such as 0.001")
    used = _encoder(encoder)
    try:
        made = calibrate(used.id, _voices(folder, used), rate)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from error
    write_new(calibration, pretty(made.body()))
    print(
        f"{made.speakers} speakers, {made.clips} clips, {made.pairs} pairs: the threshold {made.threshold:.2f} lets "
        f"{made.rate:.2%} of the others pass for somebody, and misses {made.missed:.1%} of who is enrolled"
    )
    return 0


@blocklist.command()
@guarded
def build(
    folder: Folder,
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="Where to write the draft; must not exist.")],
    calibration: Annotated[str, typer.Option(help="A file that dub blocklist calibrate wrote: a path or URL.")],
    encoder: EncoderName = EMBEDDED,
) -> int:
    """Draft a list: the voices of the people in FOLDER, as vectors. No recording is kept in it."""
    used = _encoder(encoder)
    try:
        known = read_calibration(file_bytes("--calibration", calibration), calibration)
    except BlocklistError as error:
        raise ConfigError(f"--calibration: {error}") from error
    if known.encoder != used.id:
        raise ConfigError(f"--calibration: found one for {known.encoder}, expected one for the encoder {used.id}")
    people = {name: [centre(pieces) for pieces in clips] for name, clips in _voices(folder, used).items()}
    try:
        body = lists.draft(known, people)
    except BlocklistError as error:
        raise ConfigError(f"--calibration: {error}") from error
    write_new(draft, canonical(body) + b"\n")
    wrong = 1 - (1 - known.rate) ** len(people)
    print(f"{len(people)} people drafted to {draft}; a stranger's voice is taken for one of them in {wrong:.1%}")
    return 0


@blocklist.command()
@guarded
def sign(
    draft: Annotated[str, typer.Argument(metavar="DRAFT", help="A draft that dub blocklist build made.")],
    signed: Annotated[str, typer.Argument(metavar="LIST", help="Where to write the list; an older one is replaced.")],
    key: Annotated[str, typer.Option("--key", help="A signing key: a file that dub consent key made.")],
    days: Annotated[int, typer.Option(help="Days until it expires; then jobs refuse.")] = 30,
) -> int:
    """Sign a draft as the next version of a list. Jobs that run see it within a minute."""
    if not 1 <= days <= 3650:
        raise ConfigError(f"--days: found {days}, expected 1 to 3650")
    now, signer = datetime.now(UTC), signing_key(key)

    def successor(old: bytes | None) -> bytes:
        version = 1 if old is None else lists.read_blocklist(old, [signer.public]).version + 1
        return lists.sign(read_draft(file_bytes("DRAFT", draft)), signer, version=version, issued=_moment(now),
                          expires=_moment(now + timedelta(days=days)))  # fmt: skip

    try:
        made = lists.read_blocklist(change_file(signed, successor), [signer.public])
    except (BlocklistError, OSError) as error:
        raise ConfigError(f"{signed}: {error}") from error
    print(f"version {made.version} written to {signed}, until {_moment(now + timedelta(days=days))}")
    return 0


@blocklist.command()
@guarded
def verify(
    signed: Annotated[str, typer.Argument(metavar="LIST", help="The list: a path or URL.")],
    issuers: Issuers,
) -> int:
    """Check a list: 0 it holds, 3 it does not, with the reason."""
    try:
        found = _held(signed, issuers)
    except BlocklistError as error:
        print(f"refused ({error.reason}): {error}")
        return 3
    print(f"version {found.version} until {found.expires}: {len(found.people)} people, {found.calibration.encoder}")
    return 0


@blocklist.command("test")
@guarded
def hold_against(
    signed: Annotated[str, typer.Argument(metavar="LIST", help="The list: a path or URL.")],
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Recordings: paths.")],
    issuers: Issuers,
    encoder: EncoderName = EMBEDDED,
) -> int:
    """Hold recordings against a list: 0 none is on it, 3 some are, or cannot be judged."""
    used, refused = _encoder(encoder), False
    try:
        found = _held(signed, issuers)
    except BlocklistError as error:
        print(f"refused ({error.reason}): {error}")
        return 3
    if found.calibration.encoder != used.id:
        raise ConfigError(f"--encoder: found {used.id}, expected that of the list, {found.calibration.encoder}")
    for clip in clips:
        try:
            pieces = _pieces(Path(clip), used)
            found.refuse(clip, pieces)
            person, score = found.nearest(centre(pieces))
            print(f"{clip}: free; the nearest is {person!r} with {score:.2f} of {found.calibration.threshold:.2f}")
        except (BlocklistError, ValueError, OSError) as error:
            print(f"refused: {error}")
            refused = True
    return 3 if refused else 0


def _held(url: str, issuers: list[str]) -> Blocklist:
    data = file_bytes("LIST", url)
    return lists.hold(lists.read_blocklist(data, [trusted_key("--issuer", text) for text in issuers]), time.time())


def _encoder(name: str) -> SpeakerEncoder:
    try:
        return open_encoder(name)
    except ValueError as error:
        raise ConfigError(f"--encoder: {error}") from error


def _voices(folder: str, encoder: SpeakerEncoder) -> dict[str, list[Vector]]:
    """Person -> the pieces (n, size) of each recording. Raises ConfigError for one that cannot be used."""
    found: dict[str, list[Vector]] = defaultdict(list)
    for person in sorted(path for path in Path(folder).glob("*") if path.is_dir()):
        for clip in sorted(path for path in person.iterdir() if path.is_file() and not path.name.startswith(".")):
            try:
                found[person.name].append(_pieces(clip, encoder))
            except (ValueError, OSError) as error:
                raise ConfigError(f"{clip}: {error}") from error
    if not found:
        raise ConfigError(f"FOLDER: found no recordings in {folder}, expected a folder of them for each person")
    return dict(found)


def _pieces(clip: Path, encoder: SpeakerEncoder) -> Vector:
    return encoder.pieces(*decode(clip))


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
