"""The doctor, tried on problems whose answer is known."""
