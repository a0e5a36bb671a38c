"""From stored images to batches of tensors: decoding, crops, augmentation, torch datasets."""
