"""Audio files, in one import: deliveries, takes, and what a user brings."""

from pipeline.audio.decoder import blocks, decode, duration, streams
from pipeline.audio.delivery import Delivery
from pipeline.audio.encoder import Encoder
from pipeline.audio.take import decode_take, encode_take

__all__ = ["Delivery", "Encoder", "blocks", "decode", "decode_take", "duration", "encode_take", "streams"]
