"""The customer's record: registered, changed, found and resolved from handles."""
