"""Programs that train real models with `optaxls`: `python -m examples.train`."""
