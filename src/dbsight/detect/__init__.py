"""2 DETECT: rules look at what a window did, and make findings."""
