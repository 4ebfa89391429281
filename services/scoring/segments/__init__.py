"""Groups of customers: by rules in a small expression language, and by likeness."""
