"""Text generation behind one interface, and how a model family lays out a prompt, its thinking and its answer.

Nothing heavy is imported before an engine is opened.
"""
