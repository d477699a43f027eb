"""What `python -m examples.train` and `python -m examples.train_lm` are made of."""
