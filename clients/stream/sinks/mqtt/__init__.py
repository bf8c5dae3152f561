"""Verdicts and states to a broker, over MQTT 5; docs/mqtt.md has the topics."""
