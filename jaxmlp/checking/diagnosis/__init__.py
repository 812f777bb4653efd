"""What is wrong with a gradient, and at which step: mistakes that explain the numbers received."""
