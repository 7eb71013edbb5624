"""Images with label maps: annotation formats, synthetic scenes, transforms."""
