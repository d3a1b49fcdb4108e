"""Look at things: plan, doctor, show, replay, list; one module per command.

In: names, suites and run folders. Out: text on the terminal, or views for the HTML report. Nothing
but the command line imports this folder.
"""
