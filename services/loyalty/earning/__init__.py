"""Earning: how many points a purchase, a refund or a sign-up is worth."""
