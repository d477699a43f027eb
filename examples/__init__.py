"""Short examples of `optaxls`, and folders with the programs that train and measure.

`quickstart`, `linen`, `nnx`, `sharded` and `own_condition` each stand alone. The main
job is `python -m examples.train`; `examples.training` has what it is made of.
"""
