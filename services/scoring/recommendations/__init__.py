"""What to offer whom: items that go with what a customer bought, that are like it, or that many buy."""
