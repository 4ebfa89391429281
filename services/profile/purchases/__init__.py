"""What customers bought and gave back."""
