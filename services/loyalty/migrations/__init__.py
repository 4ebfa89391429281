"""The loyalty service's migrations."""
