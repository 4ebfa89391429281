"""Importing files through the gateway's batch API."""
