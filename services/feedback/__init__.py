"""The feedback service: what customers say, the tickets it becomes, and the surveys that ask."""
