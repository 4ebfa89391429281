"""Spending a budget on next actions: who gets which, who is held out, and what one more unit would bring."""
