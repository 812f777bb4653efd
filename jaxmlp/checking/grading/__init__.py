"""Grading homework: every submission in a process of its own, judged in another one."""
