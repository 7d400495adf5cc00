"""The learning, without a network. Imports nothing, so that `device` can use recordings without torch."""
