"""Surveys: NPS, CSAT and CES, their answers and what these add up to."""
