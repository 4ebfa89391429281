"""What customers did at touchpoints."""
