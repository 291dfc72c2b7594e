"""A FUSE server of our own: the kernel's protocol over /dev/fuse, without any library."""
