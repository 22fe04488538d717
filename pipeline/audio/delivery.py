"""What a delivered audio file is to be."""

from dataclasses import dataclass

# Sampling rates in Hz that a format's encoder takes; None: any.
RATES: dict[str, tuple[int, ...] | None] = {
    "flac": None,
    "wav": None,
    "opus": (48000, 24000, 16000, 12000, 8000),
    "mp3": (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
    "m4a": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
}
BITS = {"flac": (16, 24), "wav": (16, 24, 32)}

# Layer III has fixed bit rates in kb/s: ISO/IEC 11172-3 section 2.4.2.3 and, from 24 kHz down, 13818-3.
MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Format of a delivered file. ValueError, which names the field, for what no such file can be."""

    format: str  # "flac" | "wav" | "opus" | "mp3" | "m4a"
    rate: int = 48000  # Hz
    bits: int = 24  # flac: 16 or 24; wav: 16, 24 or 32, which is float
    bitrate: int = 96  # kb/s of the lossy formats
    channels: int = 1

    def __post_init__(self) -> None:
        if self.format not in RATES:
            raise ValueError(f"format: {self.format!r} is none of {', '.join(RATES)}")
        rates = RATES[self.format]
        if self.rate not in rates if rates else not 1 <= self.rate <= 655350:
            known = ", ".join(map(str, rates)) if rates else "1 to 655350"
            raise ValueError(f"rate: {self.format} takes {known} Hz, not {self.rate}")
        if self.bits not in BITS.get(self.format, (self.bits,)):
            raise ValueError(f"bits: {self.format} takes {BITS[self.format]}, not {self.bits}")
        if self.channels not in (1, 2):
            raise ValueError(f"channels: 1 or 2, not {self.channels}")
        if not self.lossless and self.bitrate not in self._bitrates():
            raise ValueError(f"bitrate: {self.format} has no {self.bitrate} kb/s at {self.rate} Hz")

    @property
    def extension(self) -> str:
        """With its dot."""
        return f".{self.format}"

    @property
    def lossless(self) -> bool:
        return self.format in BITS

    def _bitrates(self) -> range | tuple[int, ...]:
        if self.format == "opus":
            return range(6, 256 * self.channels + 1)  # RFC 6716 section 2.1.1
        if self.format == "m4a":
            return range(8, 6 * self.rate * self.channels // 1000 + 1)  # 6144 bits per frame and channel
        if self.rate >= 32000:
            return MPEG1
        return MPEG2 if self.rate >= 16000 else tuple(rate for rate in MPEG2 if rate <= 64)
