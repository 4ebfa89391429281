"""What assembles the parts into a running system, and the tools around it."""

GATEWAY_PORT = 8000
