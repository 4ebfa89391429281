"""Made customers for `c360 demo`: who they are, how they are put in, how one of them is shown."""
