"""Auditing the derivative rules of an installed package."""
