"""Links to boards: serial ports, MQTT brokers, recordings played back, synthetic people."""
