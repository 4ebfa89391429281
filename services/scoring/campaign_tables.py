"""What is made of the scores, at a glance, beside the facts and scores in tables.py: churn, segments,
recommendations, actions, budgets and experiments.

The DDL, with its checks and the reasons, is in migrations/versions/0005 to 0009.
"""
