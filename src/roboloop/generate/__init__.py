"""Seed episodes -> thousands of episodes over many scenes."""
