"""Policies: what maps camera images, proprioception and words to chunks of actions."""
