"""Partner intake: signed webhooks become receipts and events."""
