"""The scoring service's schema, revision by revision."""
