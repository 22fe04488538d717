"""Batch dubbing: scripts in object storage in, timed and restartable dubbed tracks out."""

__version__ = "0.1.0"
