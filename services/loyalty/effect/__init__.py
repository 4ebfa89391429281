"""Effect: what a reward, a rule or a tier did, against comparable members without it."""
