"""Inspect names, suites and runs without reranking anything: plan, doctor, show, list.

In: names, suites and run folders. Out: text on the terminal, or the `QueryView`s of a page. Only
the command line imports this folder.
"""
