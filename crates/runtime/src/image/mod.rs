//! Images: pull and unpack.
