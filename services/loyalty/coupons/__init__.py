"""Coupons: codes that take something off a basket."""
