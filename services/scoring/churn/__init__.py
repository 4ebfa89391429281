"""Who is likely to leave: from the purchases of customers, or from a label that says who left."""
