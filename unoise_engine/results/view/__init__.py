"""view.html: a case's CT, segmentation and maps as one page, which opens in a browser from the disk."""
