"""How much will be bought in the coming weeks, by segment, and how that compares with what came."""
