"""What a JAX function computes, as a list of operations that can be executed in other ways."""
