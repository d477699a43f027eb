"""What the folders beside this one share; they do not import each other."""
