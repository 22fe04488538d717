"""What the watermark says of files: any audio or video, at any URL."""

import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audio.codec import blocks
from pipeline.store import Store, StoreError
from pipeline.watermark import THRESHOLD, Detector, Finding, Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found in one file, the likeliest key first, or why it could not be looked at."""

    file: str
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    threshold: float = THRESHOLD  # p-value under which it counts as marked
    error: str = ""

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
        return {"file": self.file, "seconds": self.seconds, "marked": self.marked, "error": self.error,
                "spans": self.spans(), "findings": found}  # fmt: skip


def examine(url: str, keys: Sequence[Key], *, search: str = "fast", threshold: float = THRESHOLD) -> Evidence:
    """Look for keys' marks in a file. Never raises for a bad file: the error is in the evidence."""
    folder, name = posixpath.split(url)
    detector: Detector | None = None
    count, rate = 0, 1
    try:
        with Store(folder or ".").open(name) as file:
            for block, rate in blocks(file):
                detector = detector or Detector(rate, keys, search=search)
                detector.add(block)
                count += len(block)
        assert detector is not None, "blocks gives at least one"
        findings = tuple(detector.findings())
    except (StoreError, OSError, ValueError) as error:
        return Evidence(file=url, error=str(error).removeprefix(f"{url}: "))
    return Evidence(file=url, seconds=round(count / rate, 3), findings=findings, threshold=threshold)


def look_up(store: Store, tracks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The manifests under an output whose plan begins with one of these track ids (12 hexadecimal digits)."""
    found: dict[str, dict[str, Any]] = {}
    for name in store.sizes():
        if posixpath.basename(name) != "manifest.json" or len(found) == len(set(tracks)):
            continue
        manifest = store.read_json(name)
        track = str((manifest or {}).get("plan", ""))[:12]
        if track in tracks:
            found[track] = manifest
    return found
