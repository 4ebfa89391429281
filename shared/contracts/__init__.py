"""Contracts: the events that the parts exchange, one file per producer, and who hears them."""

from shared.contracts import erasure, feedback, gateway, loyalty, profile, scoring, sections
from shared.contracts.envelope import Event, EventData, UnknownEvent, decode, encode

__all__ = [
    "Event",
    "EventData",
    "UnknownEvent",
    "decode",
    "encode",
    "erasure",
    "feedback",
    "gateway",
    "loyalty",
    "profile",
    "scoring",
    "sections",
]
