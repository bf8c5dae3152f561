"""The newest verdicts in registers, over Modbus TCP; docs/modbus.md has the map."""
