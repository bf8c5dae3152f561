"""What a PLC is told, whatever protocol it speaks: the newest verdicts, how old they are, and the handshake."""
