"""Reading the text offline: language, category, severity and mood, each explained."""
