"""What is known of a customer, value by value, each with its source."""
