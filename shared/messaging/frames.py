"""A message as the bytes of AMQP 0-9-1: Basic.Publish, its header and its body (specification, 2.3.5, 4.2).

What is the same for all events of a type is made once, by pamqp; its objects for each message cost more than
everything else on the way out.
"""

from functools import lru_cache
from struct import Struct

from pamqp import commands, frame
from pamqp.header import ContentHeader

from shared.messaging.bus import Outgoing

PERSISTENT = 2
TYPES = 256  # of events, remembered for each channel number
_BODY = 3
_END = b"\xce"
_FRAME = Struct(">BHI")  # kind, channel, bytes that follow before the end
_SIZE = Struct(">Q")
_SIZE_AT = _FRAME.size + 4  # in the header's frame: after the class and the weight
_NO_ID = b"0" * 36  # as long as every event's id


def message(event: Outgoing, exchange: str, channel: int, most_in_frame: int) -> bytes:
    """Persistent and mandatory, routed by the event's type, named by its id."""
    publish, before, after = _same_for_all(event.type, exchange, channel)
    body = event.envelope.encode()
    after = after.replace(_NO_ID, str(event.id).encode(), 1)
    parts = [publish, before, _SIZE.pack(len(body)), after]
    for start in range(0, len(body), most_in_frame):
        part = body[start : start + most_in_frame]
        parts += [_FRAME.pack(_BODY, channel, len(part)), part, _END]
    return b"".join(parts)


@lru_cache(TYPES)
def _same_for_all(kind: str, exchange: str, channel: int) -> tuple[bytes, bytes, bytes]:
    """The method's frame, and the header's before and after the body's size, with a place for the id."""
    publish = commands.Basic.Publish(exchange=exchange, routing_key=kind, mandatory=True)
    properties = commands.Basic.Properties(
        content_type="application/cloudevents+json",
        delivery_mode=PERSISTENT,
        message_id=_NO_ID.decode(),
        message_type=kind,
    )
    header = frame.marshal(ContentHeader(properties=properties), channel)
    return frame.marshal(publish, channel), header[:_SIZE_AT], header[_SIZE_AT + _SIZE.size :]
