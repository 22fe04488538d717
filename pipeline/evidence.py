"""What the watermark says of files: any audio or video, at any URL."""

import os
import posixpath
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO

from pipeline.audio.codec import blocks, streams
from pipeline.store import Store, StoreError
from pipeline.watermark import THRESHOLD, Detector, Finding, Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found in a file, or in one audio stream of a film, the likeliest key first.

    With an `error` it could not be read at all, or no further than `seconds`.
    """

    file: str
    stream: int = 1  # of `streams`
    streams: int = 1
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    threshold: float = THRESHOLD  # p-value under which it counts as marked
    error: str = ""

    @property
    def name(self) -> str:
        return self.file if self.streams == 1 else f"{self.file} (audio {self.stream} of {self.streams})"

    @property
    def marked(self) -> bool:
        return bool(self.findings) and self.findings[0].p < self.threshold

    def spans(self) -> list[tuple[float, float]]:
        """Seconds from and to where the likeliest key's mark is, windows that overlap taken together."""
        merged: list[tuple[float, float]] = []
        for start, end, p in self.findings[0].spans if self.marked else ():
            if p < self.threshold and merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
            elif p < self.threshold:
                merged.append((start, end))
        return merged

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a finding's payload as hexadecimal digits, and the track's id, which a manifest's `plan` begins
        with."""
        found = [
            {
                **asdict(finding),
                "marked": finding.p < self.threshold,
                "payload": finding.payload.hex() if finding.payload else None,
                "track": finding.payload.hex()[4:] if finding.payload else None,
            }
            for finding in self.findings
        ]
        return {"file": self.file, "stream": self.stream, "streams": self.streams, "seconds": self.seconds,
                "marked": self.marked, "error": self.error, "spans": self.spans(), "findings": found}  # fmt: skip


def examine(url: str, keys: Sequence[Key], *, search: str = "fast", threshold: float = THRESHOLD) -> list[Evidence]:
    """Look for keys' marks in each audio stream of a file. Never raises for a bad file: its evidence has the error."""
    folder, name = posixpath.split(url)
    try:
        with Store(folder or ".").open(name) as file:
            count = streams(file)
            return [
                replace(_heard(url, file, n, keys, search), stream=n + 1, streams=count, threshold=threshold)
                for n in range(count)
            ]
    except (StoreError, OSError, ValueError) as error:
        return [Evidence(file=url, error=_plain(error, url))]


def _heard(url: str, file: BinaryIO, stream: int, keys: Sequence[Key], search: str) -> Evidence:
    """What is in one stream, as far as it can be read."""
    detector: Detector | None = None
    count, rate, error = 0, 1, ""
    findings: list[Finding] = []
    file.seek(0)
    try:
        for block, rate in blocks(file, stream):
            detector = detector or Detector(rate, keys, search=search)
            detector.add(block)
            count += len(block)
    except (OSError, ValueError) as fault:
        error = _plain(fault, url)
    try:
        findings = detector.findings() if detector else []
    except ValueError as fault:
        error = error or str(fault)
    return Evidence(file=url, seconds=round(count / rate, 3), findings=tuple(findings), error=error)


def _plain(error: Exception, url: str) -> str:
    """What is wrong with a file, without its name."""
    text = error.reason if isinstance(error, StoreError) else str(error)
    for name in (url, f"./{url}", os.path.abspath(url), "audio"):
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return text


def look_up(store: Store, tracks: Collection[str]) -> dict[str, dict[str, Any]]:
    """The manifests under an output whose plan begins with one of these track ids (12 hexadecimal digits)."""
    found: dict[str, dict[str, Any]] = {}
    for name in store.sizes():
        if posixpath.basename(name) != "manifest.json" or len(found) == len(tracks):
            continue
        manifest = store.read_json(name)
        if not isinstance(manifest, dict) or not all(isinstance(manifest.get(k), str) for k in ("title", "language")):
            continue  # nothing that this program wrote
        track = str(manifest.get("plan", ""))[:12]
        if track in tracks:
            found[track] = manifest
    return found
