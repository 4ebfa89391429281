"""What a customer is recognised by: e-mail addresses, phone numbers, external ids."""
