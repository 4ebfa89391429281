"""Challenges: tasks over what members do, their badges, and the boards on which members stand."""
