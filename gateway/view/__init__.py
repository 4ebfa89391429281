"""The customer-360 view: the projection of the services' sections, its reads, the journey and the stream."""
