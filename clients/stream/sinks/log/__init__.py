"""The line's log in SQLite: boards, frames that are not good, and their defects."""
