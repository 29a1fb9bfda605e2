"""Training: rows in, a checkpoint out, in a process of its own.

`job` starts it and is cheap to import; `examples` reads the rows and `rows` makes token ids and token weights of them;
`settings` and `canary` are plain values; only `sft` knows torch and transformers, and only the child process imports
it.
"""
