"""Events out, events in: outbox, relay, inbox, dead letters, sections, and the two transports."""
