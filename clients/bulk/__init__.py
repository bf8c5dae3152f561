"""Detection on very many files: what is done is kept, and a run that was killed goes on where it was."""
