"""The data that training and evaluation read: records, augmentation, streams."""
