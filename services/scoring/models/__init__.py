"""Models: probability models of purchases and spend, fitted to the facts and stored as versions."""
