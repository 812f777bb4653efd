"""Whether a submission imports what differentiates for it, or hides what it imports."""

import ast

from jaxmlp.checking.homework.source import Source

AUTODIFF = {
    "jax", "jaxmlp", "torch", "tensorflow", "keras", "autograd", "theano", "mxnet", "tinygrad",
    "chainer", "paddle", "mindspore", "flax", "equinox", "casadi", "sympy",
}  # fmt: skip
IMPORTS = AUTODIFF | {"importlib", "gc", "ctypes"}
HIDING = {"__import__", "exec", "eval", "sys.modules"}


def autodiff_in(source: Source) -> str:
    """The first line of a file that uses such a package, or may, in a sentence; else nothing."""
    for node in ast.walk(source.tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, (ast.Name, ast.Attribute)):
            names = [ast.unparse(node)]
        parts = {part for name in names for part in (name, name.partition(".")[0])}
        if parts & (HIDING if isinstance(node, (ast.Name, ast.Attribute)) else IMPORTS):
            line = getattr(node, "lineno", 1)
            what = "uses autodiff" if parts & AUTODIFF else "may hide what it uses"
            return f"{what}: {source.where(line)}: {source.text(line)}"
    return ""
