"""Homework as it is written: what a file computes, and which step of its derivation is wrong."""
