"""What a step costs, counted in forward passes of its batch."""

# A gradient counts as a forward pass and a backward pass of twice its work.
GRADIENT_COST = 3
