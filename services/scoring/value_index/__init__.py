"""How much a customer is worth keeping, in one number: weights from judgements, scores from what is known."""
