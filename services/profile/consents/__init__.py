"""What a customer agreed to, per purpose and channel, with the evidence."""
