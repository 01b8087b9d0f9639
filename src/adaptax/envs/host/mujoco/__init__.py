"""MuJoCo locomotion: the task families of meta-RL on Gymnasium's robots, stepped natively in batches, or by MJX.

`robots` holds the bodies and what is observed of them, `rules` what is paid, `tasks` the tasks, `simulator` and
`locomotion` MuJoCo on the host, `mjx` MuJoCo in JAX, and `families` the benchmarks with their published variants.
"""
