"""What lies on disk: records of images, the folders that hold them, labels added later, image files."""
