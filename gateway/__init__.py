"""The one door: keys and limits, forwarding, partner intake and the customer-360 view."""
