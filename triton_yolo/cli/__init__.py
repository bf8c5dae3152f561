"""What the command lines share: the verbs, how they end, and how they show progress."""
