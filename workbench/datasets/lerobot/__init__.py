"""Demonstrations in the layout of LeRobot: frames, states and actions of whole episodes."""
