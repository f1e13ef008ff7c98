"""Profiling: Scalene over stages and server, and a flame graph of the server under load.

Scalene tells Python from native time, line by line, and sees nothing inside of Cython; py-spy sees
the functions of Cython, C and libc, and so tells the rest. Nothing here judges a figure.
"""
