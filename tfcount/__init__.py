"""Crowd counting with the labels people can afford, on TensorFlow and Keras."""
