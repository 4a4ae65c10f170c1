"""Cells: children of an actor in which contract code of strangers runs, without Ray, network or files.

    CellProcess (the actor's side)  --- socket pair: what is to be done, what came of it --->  child
                                    --- two anonymous files: columns of the job, of the answer --->

What a child says is checked as a stranger's words are: the code that it runs may have taken it over.
"""
