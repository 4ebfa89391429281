"""What to do for which customer: spending a budget where it brings most."""
