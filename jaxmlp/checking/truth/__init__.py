"""What the derivative of a loss is: several witnesses, none of whom is taken at its word."""
